const WINDOW_MS = 1000, VOLLEY_HZ = 10, GLOW_MS = 60;

/** Uniform numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A Poisson number: how many multiplied uniform numbers stay above exp(-mean), for large means in parts. */
function poisson(mean, random) {
  let count = 0;
  for (let left = mean; left > 0; left -= 30) {
    const limit = Math.exp(-Math.min(left, 30));
    for (let product = random(); product > limit; product *= random()) count += 1;
  }
  return count;
}

/** A neuron with its input, and what happened during the last second. */
export class World {
  constructor(neuron, signs, recorded = null) {
    this.neuron = neuron;
    this.signs = signs;
    this.recorded = recorded;
    this.replaying = false;
    this.settings = { excitation: 12, inhibition: 4, synchrony: 0, rate: 10 };
    this.placed = [];
    this.inputs = new Int32Array(200000);
    this.values = new Float64Array(200000);
    this.excitatory = [...signs.keys()].filter((i) => signs[i] > 0);
    this.inhibitory = [...signs.keys()].filter((i) => signs[i] < 0);
    this.glow = new Float32Array(signs.length);
    this.window = Math.max(50, Math.round(WINDOW_MS / neuron.dtMs));
    const ring = () => new Float32Array(this.window);
    this.voltageMv = ring();
    this.probability = ring();
    this.spike = ring();
    this.excitation = ring();
    this.inhibition = ring();
    this.recordedMv = ring();
    this.recordedSpike = ring();
    this.memory = new Float32Array(this.window * neuron.memory.length);
    this.reset();
  }

  /** Back to rest and to the first random number. */
  reset(seed = 1) {
    this.random = randomNumbers(seed);
    this.neuron.reset();
    this.steps = 0;
    this.spikes = 0;
    this.pending = [];
    this.glow.fill(0);
    for (const ring of [this.voltageMv, this.recordedMv]) ring.fill(NaN);
    for (const ring of [this.probability, this.spike, this.excitation, this.inhibition, this.recordedSpike, this.memory]) ring.fill(0);
  }

  /** Let placed synapses (all by default) fire together in the next step. */
  fire(placed = this.placed) {
    for (const { inputs } of placed) this.pending.push(...inputs);
  }

  add(input, value = this.signs[input]) {
    if (this.events === this.inputs.length) return;
    this.inputs[this.events] = input;
    this.values[this.events] = value;
    this.events += 1;
  }

  /** Input events of the next step. */
  draw() {
    this.events = 0;
    for (const input of this.pending) this.add(input);
    this.pending = [];
    if (this.replaying) {
      const { first, input, continuous } = this.recorded, step = this.steps % (first.length - 1);
      if (step === 0) this.neuron.reset();
      const channels = this.neuron.continuous.length, before = this.signs.length - channels;
      for (let channel = 0; channel < channels; channel += 1) this.add(before + channel, continuous[step * channels + channel]);
      for (let event = first[step]; event < first[step + 1]; event += 1) this.add(input[event]);
      return;
    }
    const { excitation, inhibition, synchrony, rate } = this.settings, seconds = this.neuron.dtMs / 1000, { random } = this;
    // Synchrony moves a share of the excitatory events into volleys that all excitatory inputs take part in; the rate stays.
    let mean = this.excitatory.length * excitation * (1 - synchrony) * seconds;
    if (synchrony > 0 && random() < VOLLEY_HZ * seconds) mean += (this.excitatory.length * excitation * synchrony) / VOLLEY_HZ;
    for (let left = poisson(mean, random); left > 0; left -= 1) this.add(this.excitatory[Math.floor(random() * this.excitatory.length)]);
    mean = this.inhibitory.length * inhibition * seconds;
    for (let left = poisson(mean, random); left > 0; left -= 1) this.add(this.inhibitory[Math.floor(random() * this.inhibitory.length)]);
    for (const { inputs } of this.placed) if (random() < rate * seconds) for (const input of inputs) this.add(input);
  }

  /** One step of the neuron; true where it fires. */
  step() {
    this.draw();
    const { neuron, signs, glow } = this, at = this.steps % this.window, fade = Math.exp(-neuron.dtMs / GLOW_MS);
    const { spikeProbability, spike, voltageMv } = neuron.step(this.inputs, this.values, this.events);
    let excited = 0, inhibited = 0;
    for (let i = 0; i < glow.length; i += 1) glow[i] *= fade;
    for (let event = 0; event < this.events; event += 1) {
      if (signs[this.inputs[event]] > 0) excited += 1;
      if (signs[this.inputs[event]] < 0) inhibited += 1;
      glow[this.inputs[event]] += Math.abs(signs[this.inputs[event]]);
    }
    this.voltageMv[at] = voltageMv;
    this.probability[at] = spikeProbability;
    this.spike[at] = spike ? 1 : 0;
    this.excitation[at] = excited;
    this.inhibition[at] = inhibited;
    const trial = this.replaying ? this.recorded : null, place = trial && this.steps % trial.voltageMv.length;
    this.recordedMv[at] = trial ? trial.voltageMv[place] : NaN;
    this.recordedSpike[at] = trial && trial.spike[place] ? 1 : 0;
    this.memory.set(neuron.memory, at * neuron.memory.length);
    this.steps += 1;
    if (spike) this.spikes += 1;
    return spike;
  }
}

/** The plane in which a cell is drawn: every input and every piece of dendrite, the soma at 0, 0, in µm; y points up. */
export function layout(neuron, signs) {
  const { geometry } = neuron.header;
  return geometry ? seenFlat(geometry) : schematic(neuron, signs);
}

/** The two axes along which the cell extends most; y stays upright. */
function seenFlat(geometry) {
  const soma = geometry.soma_um, spans = [0, 1, 2].map((axis) => {
    const values = geometry.pieces_um.flatMap((piece) => [piece[axis], piece[axis + 3]]);
    return values.reduce((most, value) => Math.max(most, value), -Infinity) - values.reduce((least, value) => Math.min(least, value), Infinity);
  });
  const thinnest = spans.indexOf(Math.min(...spans)), [across, up] = [[2, 1], [0, 2], [0, 1]][thinnest];
  const flat = (piece, from) => [piece[across + from] - soma[across], piece[up + from] - soma[up]];
  const pieces = geometry.pieces_um.map((piece) => ({ from: flat(piece, 0), to: flat(piece, 3), width: piece[6] }));
  const inputs = geometry.input_piece.map((piece) => {
    if (piece < 0) return { at: [0, 0], piece };
    const { from, to } = pieces[piece];
    return { at: [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2], piece };
  });
  return { pieces, inputs, somaUm: soma[3], schematic: false };
}

/** Rays around the soma, one for each branch (or for neighbours, where there are many), with their inputs in order. */
function schematic(neuron, signs) {
  const { firstSynapse, branchOfSynapse, inputs: count } = neuron, branches = neuron.branches.length;
  const branch = Array.from({ length: count }, (_, i) => (firstSynapse[i] < firstSynapse[i + 1] ? branchOfSynapse[firstSynapse[i]] : 0));
  const rays = Math.min(branches, 48), members = Array.from({ length: rays }, () => []);
  branch.forEach((number, i) => members[Math.floor((number * rays) / branches)].push(i));
  const pieces = [], inputs = Array.from({ length: count }, () => ({ at: [0, 0], piece: -1 }));  // continuous ones: the soma
  members.forEach((mine, ray) => {
    const angle = (2 * Math.PI * (ray + 0.5)) / rays - Math.PI / 2, [x, y] = [Math.cos(angle), Math.sin(angle)];
    const length = 90 + 160 * (ray % 2 ? 1 : 0.72);
    // Inputs of either sign in their order from the soma to the tip, side by side.
    for (const sign of [1, -1]) {
      const kind = mine.filter((input) => signs[input] === sign), far = (number) => 14 + ((length - 14) * number) / kind.length;
      kind.forEach((input, number) => {
        const from = [far(number) * x, far(number) * y], to = [far(number + 1) * x, far(number + 1) * y];
        inputs[input] = { at: [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2], piece: pieces.length };
        pieces.push({ from, to, width: 1.5 });
      });
    }
  });
  return { pieces, inputs, somaUm: 26, schematic: true };
}
