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
    this.detector = new Float64Array(2);  // the probability of the step before, and the phase of `detect`
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
   * Whether the step before was the first peak of a stretch above the threshold: a peak shows one step later. The phase is 0
   * below the threshold, 1 while the probability rises above it, 2 after the spike.
   */
  detect(probability) {
    let [before, phase] = this.detector;
    const spike = phase === 1 && probability < before;
    if (spike) phase = 2;
    if (!(probability > this.spikeThreshold)) phase = 0;
    else if (phase === 0) phase = 1;
    this.detector[0] = probability;
    this.detector[1] = phase;
    return spike;
  }

  /**
   * One step.
   * @param inputs numbers of the inputs with an event in this step
   * @param values one value for each: +1 for a spike of an excitatory input (the default), -1 for an inhibitory one
   * @param events how many of them count; all by default
   * @returns spikeProbability; spike: whether one shows, whose time is the beginning of this step; voltageMv, and of all sites
   */
  step(inputs = [], values = null, events = inputs.length) {
    const { branches, memory, seen, decayed, firstSynapse, branchOfSynapse, weight } = this;
    for (let event = 0; event < events; event += 1) {
      if (!(Number.isInteger(inputs[event]) && inputs[event] >= 0 && inputs[event] < this.inputs)) {
        throw new RangeError(`input ${inputs[event]} does not exist; expected 0 to ${this.inputs - 1}`);
      }
    }
    for (let i = 0; i < branches.length; i += 1) branches[i] *= this.branchDecay[i];
    for (let event = 0; event < events; event += 1) {
      const value = values === null ? 1 : values[event], stop = firstSynapse[inputs[event] + 1];
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
    return { spikeProbability, spike: this.detect(spikeProbability), voltageMv: voltages[0], voltagesMv: voltages };
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
