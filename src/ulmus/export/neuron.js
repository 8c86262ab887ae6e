const BOUND = 1.7159, SLOPE = 2 / 3, SHORTEST_TAU_MS = 1e-6;

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  silu: (x) => x / (1 + Math.exp(-x)),
  squared_relu: (x) => (x > 0 ? x * x : 0),
};

const READERS = {
  F32: [4, (view, at) => view.getFloat32(at, true)],
  F64: [8, (view, at) => view.getFloat64(at, true)],
  I64: [8, (view, at) => Number(view.getBigInt64(at, true))],
  BOOL: [1, (view, at) => view.getUint8(at)],
};

/** The header and the tensors (as Float64Array) of a safetensors file. */
function readTensors(buffer) {
  const view = new DataView(buffer);
  const size = buffer.byteLength >= 8 ? Number(view.getBigUint64(0, true)) : Infinity;
  if (size + 8 > buffer.byteLength) throw new Error("this is not a safetensors file");
  const entries = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const saved = (entries.__metadata__ || {}).ulmus;
  if (!saved) throw new Error("this safetensors file was not written by ulmus.save");
  const tensors = {};
  for (const [name, entry] of Object.entries(entries)) {
    if (name === "__metadata__") continue;
    const reader = READERS[entry.dtype];
    if (!reader) throw new Error(`numbers of type ${entry.dtype} are not read here; save the neuron in float32`);
    const [width, read] = reader, [start, stop] = entry.data_offsets;
    if (8 + size + stop > buffer.byteLength) throw new Error("this safetensors file is cut off");
    tensors[name] = Float64Array.from({ length: (stop - start) / width }, (_, i) => read(view, 8 + size + start + i * width));
  }
  return { header: JSON.parse(saved), tensors };
}

/** +1 for excitatory, -1 for inhibitory inputs, as far as a saved neuron tells (+1 where it does not); 0 for continuous ones. */
export function inputSigns(header, inputs) {
  const events = inputs - continuousOf(header).length, half = Math.floor(events / 2), piece = header.geometry?.input_piece;
  const ranges = header.card?.inhibitory;  // of the trials that it was fitted to
  // Windows routing has as many inhibitory inputs after the excitatory ones; so has a cell with one of each on every piece.
  const paired = piece && events % 2 === 0 && piece.slice(0, half).every((place, i) => place === piece[half + i]);
  const halves = (header.model.config.routing === "windows" && events === inputs) || paired;
  const inhibitory = (i) => (ranges ? ranges.some(([first, stop]) => first <= i && i < stop) : halves && i >= half);
  return Int8Array.from({ length: inputs }, (_, i) => (i >= events ? 0 : inhibitory(i) ? -1 : 1));
}

/** Name, unit and scale of the last inputs, where these are continuous ones such as a current. */
const continuousOf = (header) => header.card?.continuous ?? [];

/** A neuron from the bytes (ArrayBuffer) of a file that `ulmus.save` wrote. */
export function readNeuron(buffer) {
  const { header, tensors } = readTensors(buffer);
  const kind = header.kind === "Surrogate" ? `Surrogate of kind ${header.model.kind}` : header.kind;
  if (kind !== "Surrogate of kind ELM" && kind !== "Surrogate of kind ELMCell") {
    throw new Error(`a ${kind} cannot run here; expected a Surrogate of an ELM`);
  }
  return new Neuron(header, tensors);
}

/** A fitted neuron with its state: the same numbers as Surrogate.predict in double precision, step by step. */
export class Neuron {
  constructor(header, tensors) {
    const config = header.model.config, get = (name) => tensors[`neuron.${name}`];
    this.header = header;
    this.inputs = config.inputs;
    this.signs = inputSigns(header, config.inputs);
    this.continuous = continuousOf(header);
    this.dtMs = config.dt_ms;
    this.sites = header.sites;
    this.units = header.units;
    this.siteUnits = header.sites.map((_, site) => (header.site_units || [])[site] || header.units);
    this.spikeThreshold = header.spike_threshold;
    this.activate = ACTIVATIONS[config.activation];
    this.branchDecay = get("tau_synapse_ms").map((tau) => Math.exp(-this.dtMs / tau));
    this.readSynapses(get("synapses.indices"), get("synapses.connected"), get("synapses.raw"));
    const [low, high] = config.tau_memory_bounds_ms || config.tau_memory_ms;
    this.tauMemoryMs = get("tau_memory.raw").map((raw) => low + (high - low) / (1 + Math.exp(-raw)));
    const tau = this.tauMemoryMs.map((value) => Math.max(value, SHORTEST_TAU_MS));
    this.memoryDecay = tau.map((value) => Math.exp(-this.dtMs / value));
    this.memoryGain = config.update === "published"
      ? this.memoryDecay.map((decay) => config.gain * (1 - decay))
      : tau.map((value) => 1 - Math.exp((-this.dtMs * config.gain) / value));
    this.layers = [];
    for (let number = 0; get(`mlp.${number}.weight`); number += 1) {
      this.layers.push({ weight: get(`mlp.${number}.weight`), bias: get(`mlp.${number}.bias`) });
    }
    for (const layer of this.layers) layer.value = new Float64Array(layer.bias.length);
    this.readout = { weight: get("readout.weight"), bias: get("readout.bias") };
    const memory = tau.length, hidden = config.hidden_readout ? this.layers[this.layers.length - 2].value.length : 0;
    this.seen = new Float64Array(this.branchDecay.length + memory);
    this.branches = this.seen.subarray(0, this.branchDecay.length);
    this.decayed = this.seen.subarray(this.branchDecay.length);
    this.read = new Float64Array(memory + hidden);
    this.memory = this.read.subarray(0, memory);
    this.hiddenRead = this.read.subarray(memory);
    this.outputs = new Float64Array(1 + this.sites.length);
    this.detector = new Float64Array(2);  // the logit of the step before, and the phase of `detect`
  }

  /** Synapses input by input: those of input i are from firstSynapse[i] to before firstSynapse[i + 1]. */
  readSynapses(indices, connected, raw) {
    const perBranch = indices.length / this.branchDecay.length;
    const used = [...indices.keys()].filter((i) => connected[i] && raw[i] > 0).sort((a, b) => indices[a] - indices[b]);
    this.firstSynapse = new Int32Array(this.inputs + 1);
    for (const i of used) this.firstSynapse[indices[i] + 1] += 1;
    for (let input = 0; input < this.inputs; input += 1) this.firstSynapse[input + 1] += this.firstSynapse[input];
    this.branchOfSynapse = Int32Array.from(used, (i) => Math.floor(i / perBranch));
    this.weight = Float64Array.from(used, (i) => raw[i]);
  }

  /** Back to rest. */
  reset() {
    this.seen.fill(0);
    this.read.fill(0);
    this.detector.fill(0);
  }

  /** Branches, memory and detector of spikes as one array, to go on from later. */
  get state() {
    return Float64Array.of(...this.branches, ...this.memory, ...this.detector);
  }

  set state(values) {
    const end = this.branches.length + this.memory.length;
    this.branches.set(values.subarray(0, this.branches.length));
    this.memory.set(values.subarray(this.branches.length, end));
    this.detector.set(values.subarray(end));
  }

  /**
   * Whether the step before was the first peak of a stretch above the threshold: a peak shows one step later. Logits are
   * compared, as rounding of a probability near 1 would flatten peaks. The phase is 0 below the threshold, 1 while the logit
   * rises above it, 2 after the spike.
   */
  detect(logit) {
    let [before, phase] = this.detector;
    const limit = Math.log(this.spikeThreshold) - Math.log1p(-this.spikeThreshold), spike = phase === 1 && logit < before;
    if (spike) phase = 2;
    if (!(logit > limit)) phase = 0;
    else if (phase === 0) phase = 1;
    this.detector[0] = logit;
    this.detector[1] = phase;
    return spike;
  }

  check(inputs, values, events) {
    for (const [name, given] of [["inputs", inputs], ["values", values ?? []]]) {
      if (!Array.isArray(given) && !ArrayBuffer.isView(given)) throw new TypeError(`${name} is ${given}; expected an array, one number for each event`);
    }
    if (values && values.length !== inputs.length) {
      throw new RangeError(`there are ${inputs.length} inputs, but ${values.length} values; expected one value for each input`);
    }
    if (!(Number.isInteger(events) && events >= 0 && events <= inputs.length)) {
      throw new RangeError(`events is ${events}; expected how many of the ${inputs.length} inputs count`);
    }
    for (let event = 0; event < events; event += 1) {
      const input = inputs[event];
      if (!(Number.isInteger(input) && input >= 0 && input < this.inputs)) {
        throw new RangeError(`input ${input} does not exist; expected 0 to ${this.inputs - 1}`);
      }
      if (values && !Number.isFinite(values[event])) throw new RangeError(`input ${input} has the value ${values[event]}; expected a finite number`);
      if (!values && this.signs[input] === 0) throw new RangeError(`input ${input} is continuous and has no value; expected values`);
    }
  }

  /**
   * One step.
   * @param inputs numbers of the inputs with an event in this step
   * @param values one value for each: +1 for a spike of an excitatory input, -1 for an inhibitory one (by default the sign of
   *   the input, as far as the neuron tells; +1 where it does not), that of a continuous input divided by its scale
   * @param events how many of them count; all by default
   * @returns spikeProbability; spike: whether one shows, whose time is the beginning of this step; voltageMv, and of all sites
   */
  step(inputs = [], values = null, events = inputs.length) {
    const { branches, memory, seen, decayed, firstSynapse, branchOfSynapse, weight } = this;
    this.check(inputs, values, events);
    for (let i = 0; i < branches.length; i += 1) branches[i] *= this.branchDecay[i];
    for (let event = 0; event < events; event += 1) {
      const value = values ? values[event] : this.signs[inputs[event]], stop = firstSynapse[inputs[event] + 1];
      for (let s = firstSynapse[inputs[event]]; s < stop; s += 1) branches[branchOfSynapse[s]] += weight[s] * value;
    }
    for (let i = 0; i < memory.length; i += 1) decayed[i] = memory[i] * this.memoryDecay[i];
    let before = seen;
    const last = this.layers.length - 1;
    for (let number = 0; number <= last; number += 1) {
      const { weight: matrix, bias, value } = this.layers[number];
      multiply(matrix, bias, before, value);
      if (number < last) for (let i = 0; i < value.length; i += 1) value[i] = this.activate(value[i]);
      if (number === last - 1 && this.hiddenRead.length) this.hiddenRead.set(value);
      before = value;
    }
    for (let i = 0; i < memory.length; i += 1) {
      memory[i] = decayed[i] + this.memoryGain[i] * BOUND * Math.tanh(SLOPE * before[i]);
    }
    multiply(this.readout.weight, this.readout.bias, this.read, this.outputs);
    const voltages = Array.from(this.outputs.subarray(1), (y, site) => y / this.siteUnits[site].scale_per_mv + this.siteUnits[site].offset_mv);
    const spikeProbability = 1 / (1 + Math.exp(-this.outputs[0]));
    return { spikeProbability, spike: this.detect(this.outputs[0]), voltageMv: voltages[0], voltagesMv: voltages };
  }
}

function multiply(matrix, bias, from, to) {
  const width = from.length;
  for (let row = 0, at = 0; row < to.length; row += 1) {
    let sum = bias[row];
    for (let i = 0; i < width; i += 1, at += 1) sum += matrix[at] * from[i];
    to[row] = sum;
  }
}
