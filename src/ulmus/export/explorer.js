const INK = "#23272e", MUTED = "#6b727c", RULE = "#e2dfd7", SURROGATE = "#009e73", EXCITATION = "#c8511b", INHIBITION = "#0068a8";
const find = (id) => document.getElementById(id);
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const facts = JSON.parse(find("facts").textContent);
const canvas = { cell: find("cell"), traces: find("traces") };
const FRAME_MS = 12, MOST_STEPS = 20000, GRAB_PX = 16;

let world, place, view, sign = 1, playing = true, carried = null, sinceFrame = null, owed = 0, flash = 0;
const measured = { steps: 0, ms: 0 };

// The neuron -----------------------------------------------------------------------------------------------------------

function useNeuron(neuron, title, given = {}) {
  const signs = given.signs ? Int8Array.from(given.signs) : inputSigns(neuron.header, neuron.inputs);
  const before = world && world.settings;
  world = new World(neuron, signs, given.recorded ? readTrial(given.recorded, neuron.dtMs) : null);
  if (before) Object.assign(world.settings, before);
  place = layout(neuron, signs);
  find("title").textContent = title;
  document.title = title;
  find("recorded").hidden = world.recorded === null;
  setReplaying(false);
  find("inhibition").disabled = find("inhibit").disabled = world.inhibitory.length === 0;
  if (world.inhibitory.length === 0) choose(1);
  find("drawn").textContent = place.schematic
    ? "Schematic: the file does not say where the inputs lie. Each ray is a branch of the neuron."
    : "Dendrites seen flat. Glow: input of the last 60 ms.";
  for (const { name } of neuron.continuous) find("drawn").textContent += ` Input ${name} is zero but in a recorded trial.`;
  measured.steps = measured.ms = 0;
  resize();
}

function readTrial(trial, dtMs) {
  const voltageMv = new Float32Array(bytesOf(trial.voltage_mv)), spike = new Uint8Array(voltageMv.length);
  for (const time of trial.spike_time_ms) spike[Math.min(spike.length - 1, Math.max(0, Math.round(time / dtMs)))] = 1;
  const continuous = new Float32Array(bytesOf(trial.continuous));
  return { first: new Int32Array(bytesOf(trial.first_event)), input: new Int32Array(bytesOf(trial.event_input)), continuous, voltageMv, spike };
}

async function openFile(file) {
  const message = find("message");
  message.classList.remove("wrong");
  try {
    const neuron = readNeuron(await file.arrayBuffer());
    useNeuron(neuron, file.name.replace(/\.safetensors$/, ""));
    message.textContent = `${file.name}: ${neuron.inputs} inputs, ${neuron.memory.length} memory units.`;
    find("detailed").textContent = "";
    facts.detailed_cpu_seconds = null;
  } catch (error) {
    message.classList.add("wrong");
    message.textContent = `${file.name} could not be opened: ${error.message}.`;
  }
}

// Time -----------------------------------------------------------------------------------------------------------------

const pace = () => (Number(find("pace").value) >= 2.05 ? Infinity : 10 ** Number(find("pace").value));

function frame(now) {
  const passed = sinceFrame === null ? 0 : Math.max(0, Math.min(100, now - sinceFrame));
  sinceFrame = now;
  if (playing) {
    owed = pace() === Infinity ? 0 : owed + passed * pace();
    advance(pace() === Infinity ? Infinity : Math.floor(owed / world.neuron.dtMs));
  }
  flash *= 0.85;
  drawCell();
  drawTraces();
}

function frames(now) {
  frame(now);
  requestAnimationFrame(frames);
}

/** So many steps, or as many as there is time for in one frame; a bound holds where the clock is too coarse to tell. */
function advance(steps) {
  const begin = performance.now();
  let done = 0, spent = 0;
  while (done < Math.min(steps, MOST_STEPS)) {
    if (world.step()) flash = 1;
    done += 1;
    if (done % 16 === 0 && (spent = performance.now() - begin) > FRAME_MS) break;
  }
  owed = steps === Infinity || done < steps ? 0 : owed - done * world.neuron.dtMs;
  spent = performance.now() - begin;
  measured.steps += done;
  measured.ms += spent;
  if (measured.ms > 50) {
    tellSpeed((measured.steps * world.neuron.dtMs) / measured.ms);
    measured.steps = measured.ms = 0;
  }
}

function tellSpeed(times) {
  find("speed").textContent = `computed ${times < 10 ? times.toFixed(1) : Math.round(times)} times faster than real time`;
  if (facts.detailed_cpu_seconds) {
    find("detailed").textContent = `${Math.round(times * facts.detailed_cpu_seconds).toLocaleString("en")} times faster than the `
      + `detailed model (${facts.detailed_cpu_seconds} CPU s for a second${facts.detailed_source ? `, ${facts.detailed_source}` : ""})`;
  }
}

// Drawing --------------------------------------------------------------------------------------------------------------

function resize() {
  for (const one of Object.values(canvas)) {
    const ratio = window.devicePixelRatio || 1;
    one.width = Math.max(1, Math.round(one.clientWidth * ratio));
    one.height = Math.max(1, Math.round(one.clientHeight * ratio));
    one.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  let [left, right, low, high] = [-20, 20, -20, 20];
  for (const { from, to } of place.pieces) {
    for (const [x, y] of [from, to]) {
      [left, right, low, high] = [Math.min(left, x), Math.max(right, x), Math.min(low, y), Math.max(high, y)];
    }
  }
  const { clientWidth: width, clientHeight: height } = canvas.cell;
  const scale = Math.min((width - 30) / (right - left), (height - 30) / (high - low));
  view = {
    scale,
    x: (x) => width / 2 + (x - (left + right) / 2) * scale,
    y: (y) => height / 2 - (y - (low + high) / 2) * scale,
  };
}

function drawCell() {
  const pen = canvas.cell.getContext("2d"), { pieces, inputs } = place, { glow, signs } = world;
  pen.clearRect(0, 0, canvas.cell.clientWidth, canvas.cell.clientHeight);
  const heat = [new Float32Array(pieces.length), new Float32Array(pieces.length)];
  inputs.forEach(({ piece }, i) => { if (piece >= 0) heat[signs[i] > 0 ? 0 : 1][piece] += glow[i]; });
  pen.lineCap = "round";
  for (const layer of [null, 0, 1]) {
    pieces.forEach(({ from, to, width }, i) => {
      const warmth = layer === null ? 0 : Math.min(1, heat[layer][i] / 3);
      if (layer !== null && warmth < 0.04) return;
      pen.globalAlpha = layer === null ? 1 : warmth;
      pen.strokeStyle = layer === null ? "#cfcbc1" : layer === 0 ? EXCITATION : INHIBITION;
      pen.lineWidth = Math.max(1.2, Math.min(7, width * view.scale)) + (layer === null ? 0 : 1.5);
      pen.beginPath();
      pen.moveTo(view.x(from[0]), view.y(from[1]));
      pen.lineTo(view.x(to[0]), view.y(to[1]));
      pen.stroke();
    });
  }
  pen.globalAlpha = 1;
  const radius = Math.max(6, (place.somaUm / 2) * view.scale);
  if (flash > 0.02) circle(pen, view.x(0), view.y(0), radius * (1 + 1.6 * flash), { fill: `rgba(0,158,115,${0.35 * flash})` });
  circle(pen, view.x(0), view.y(0), radius, { fill: flash > 0.3 ? SURROGATE : INK });
  for (const one of world.placed) {
    const colour = one.sign > 0 ? EXCITATION : INHIBITION;
    for (const input of one.inputs) circle(pen, view.x(inputs[input].at[0]), view.y(inputs[input].at[1]), 2.4, { fill: colour });
    circle(pen, view.x(one.at[0]), view.y(one.at[1]), 9, { line: colour, fill: one === carried ? "rgba(35,39,46,.15)" : "rgba(255,255,255,.55)" });
  }
}

function circle(pen, x, y, radius, { fill, line }) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) { pen.fillStyle = fill; pen.fill(); }
  if (line) { pen.strokeStyle = line; pen.lineWidth = 2; pen.stroke(); }
}

function drawTraces() {
  const pen = canvas.traces.getContext("2d"), width = canvas.traces.clientWidth, height = canvas.traces.clientHeight;
  pen.clearRect(0, 0, width, height);
  const left = 46, right = width - 8, panels = [0.44, 0.15, 0.15, 0.26];
  let top = 0;
  const boxes = panels.map((share) => {
    const box = { top: top + 20, bottom: top + share * (height - 18) - 4 };
    top += share * (height - 18);
    return box;
  });
  const count = Math.min(world.steps, world.window), at = (k) => (world.steps - count + k) % world.window;
  const x = (k) => left + ((world.window - count + k + 0.5) / world.window) * (right - left);
  const line = (box, ring, low, high, colour, lineWidth = 1.4) => {
    pen.strokeStyle = colour;
    pen.lineWidth = lineWidth;
    pen.beginPath();
    let drawn = false;
    for (let k = 0; k < count; k += 1) {
      const value = ring[at(k)];
      if (Number.isNaN(value)) { drawn = false; continue; }
      const y = box.bottom - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (box.bottom - box.top);
      if (drawn) pen.lineTo(x(k), y); else pen.moveTo(x(k), y);
      drawn = true;
    }
    pen.stroke();
  };
  const clip = world.neuron.units.clip_mv, [lowMv, highMv] = voltageRange(count, at, clip);
  heading(pen, boxes[0], left, "Voltage of the soma (mV), ticks: spikes", [Math.ceil(lowMv / 10) * 10, Math.floor((clip ?? highMv) / 10) * 10], lowMv, highMv);
  line(boxes[0], world.recordedMv, lowMv, highMv, INK, 1.6);
  line(boxes[0], world.voltageMv, lowMv, highMv, SURROGATE);
  for (let k = 0; k < count; k += 1) {
    if (world.recordedSpike[at(k)]) tick(pen, x(k), boxes[0].top, INK);
    if (world.spike[at(k)]) tick(pen, x(k), boxes[0].top + 9, SURROGATE);
  }
  const most = Math.max(2 * world.neuron.spikeThreshold, maximum(world.probability));
  heading(pen, boxes[1], left, "Spike probability; dotted: a peak above it is a spike", [0, most], 0, most);
  line(boxes[1], world.probability, 0, most, SURROGATE);
  dotted(pen, left, right, boxes[1].bottom - (world.neuron.spikeThreshold / most) * (boxes[1].bottom - boxes[1].top));
  const busiest = Math.max(10, maximum(world.excitation), maximum(world.inhibition));
  heading(pen, boxes[2], left, "Input events of a step", [0, busiest], 0, busiest);
  line(boxes[2], world.excitation, 0, busiest, EXCITATION, 1);
  line(boxes[2], world.inhibition, 0, busiest, INHIBITION, 1);
  drawMemory(pen, boxes[3], left, right, count, at);
  pen.fillStyle = MUTED;
  pen.textAlign = "right";
  pen.fillText(`the last ${world.window * world.neuron.dtMs >= 1000 ? "second" : `${world.window * world.neuron.dtMs} ms`}; `
    + `${((world.steps * world.neuron.dtMs) / 1000).toFixed(1)} s simulated, ${world.spikes} spikes`, right, height - 4);
}

const maximum = (ring) => ring.reduce((most, value) => (value > most ? value : most), 0);

function voltageRange(count, at, clip) {
  let [low, high] = [(clip ?? -50) - 15, clip ?? -50];
  for (let k = 0; k < count; k += 1) {
    const [own, recorded] = [world.voltageMv[at(k)], world.recordedMv[at(k)]];
    low = Math.min(low, own, Number.isNaN(recorded) ? own : recorded);
    high = Math.max(high, own);
  }
  return [low - 1, high + 0.25 * (high - low)];
}

function heading(pen, box, left, text, ticks, low, high) {
  pen.font = '11px Inter, "Helvetica Neue", Helvetica, Arial, sans-serif';
  pen.fillStyle = MUTED;
  pen.textAlign = "left";
  pen.fillText(text, left, box.top - 7);
  pen.strokeStyle = RULE;
  pen.lineWidth = 1;
  pen.strokeRect(left, box.top, canvas.traces.clientWidth - 8 - left, box.bottom - box.top);
  pen.textAlign = "right";
  for (const value of ticks) {
    const y = box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    pen.fillText(Math.abs(value) >= 1 || value === 0 ? String(Math.round(value)).replace("-", "−") : value.toPrecision(2), left - 5, y + 4);
  }
}

function tick(pen, x, y, colour) {
  pen.fillStyle = colour;
  pen.fillRect(x - 1, y + 1, 2, 8);
}

function dotted(pen, left, right, y) {
  pen.strokeStyle = MUTED;
  pen.setLineDash([2, 3]);
  pen.beginPath();
  pen.moveTo(left, y);
  pen.lineTo(right, y);
  pen.stroke();
  pen.setLineDash([]);
}

let memoryImage = null;

/** Memory units over time, the fast ones on top: one pixel for each value, drawn to scale. */
function drawMemory(pen, box, left, right, count, at) {
  const { neuron, window: steps } = world, units = neuron.memory.length;
  const order = [...neuron.tauMemoryMs.keys()].sort((a, b) => neuron.tauMemoryMs[a] - neuron.tauMemoryMs[b]);
  if (!memoryImage || memoryImage.width !== steps || memoryImage.height !== units) {
    memoryImage = new OffscreenCanvas(steps, units);
  }
  const inner = memoryImage.getContext("2d"), image = inner.createImageData(steps, units);
  let size = 1e-6;
  for (const value of world.memory) size = Math.max(size, Math.abs(value));
  for (let k = 0; k < count; k += 1) {
    const from = at(k) * units, column = steps - count + k;
    for (let row = 0; row < units; row += 1) {
      const value = world.memory[from + order[row]] / size, shade = Math.sqrt(Math.abs(value)), pixel = 4 * (row * steps + column);
      const [red, green, blue] = value > 0 ? [0, 110, 80] : [120, 60, 140];
      image.data[pixel] = 255 + (red - 255) * shade;
      image.data[pixel + 1] = 255 + (green - 255) * shade;
      image.data[pixel + 2] = 255 + (blue - 255) * shade;
      image.data[pixel + 3] = 255;
    }
  }
  inner.putImageData(image, 0, 0);
  heading(pen, box, left, `Memory units (green +, violet −), time constants ${short(neuron.tauMemoryMs[order[0]])} to ${short(neuron.tauMemoryMs[order[units - 1]])} ms`, [], 0, 1);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(memoryImage, left + 1, box.top + 1, right - left - 2, box.bottom - box.top - 2);
}

const short = (value) => (value >= 100 ? String(Math.round(value)) : value.toPrecision(2));

// Placing synapses -----------------------------------------------------------------------------------------------------

function put(one, at) {
  const far = (input) => (place.inputs[input].at[0] - at[0]) ** 2 + (place.inputs[input].at[1] - at[1]) ** 2;
  const pool = one.sign > 0 ? world.excitatory : world.inhibitory;
  one.at = at;
  one.inputs = [...pool].sort((a, b) => far(a) - far(b)).slice(0, one.count);
}

function pointer(event) {
  const box = canvas.cell.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const near = world.placed.find(({ at }) => Math.hypot(view.x(at[0]) - x, view.y(at[1]) - y) < GRAB_PX);
  // Where x and y lie in the plane of the cell: the inverse of `view`.
  return { near, at: [(x - view.x(0)) / view.scale, (view.y(0) - y) / view.scale] };
}

canvas.cell.addEventListener("pointerdown", (event) => {
  const { near, at } = pointer(event);
  carried = near || { sign, count: Number(find("together").value) };
  if (!near) {
    put(carried, at);
    world.placed.push(carried);
  }
  try { canvas.cell.setPointerCapture(event.pointerId); } catch { /* a pointer that a script made */ }
});
canvas.cell.addEventListener("pointermove", (event) => { if (carried) put(carried, pointer(event).at); });
for (const end of ["pointerup", "pointercancel"]) canvas.cell.addEventListener(end, () => { carried = null; });
canvas.cell.addEventListener("dblclick", (event) => {
  const { near } = pointer(event);
  // The two clicks of a double-click have placed a group, or caught one; in both cases it lies here.
  if (near) world.placed = world.placed.filter((one) => one !== near);
});

// Controls -------------------------------------------------------------------------------------------------------------

const TOLD = {
  pace: () => (pace() === Infinity ? "as fast as possible" : `${pace() < 10 ? pace().toPrecision(2) : Math.round(pace())} × real time`),
  excitation: (value) => `${value} Hz per synapse`,
  inhibition: (value) => `${value} Hz per synapse`,
  synchrony: (value) => `${Math.round(100 * value)} % in volleys`,
  together: (value) => value,
  rate: (value) => `${value} Hz`,
};

for (const [id, told] of Object.entries(TOLD)) {
  const slider = find(id), show = () => {
    document.querySelector(`output[for=${id}]`).textContent = told(slider.value);
    if (world && id in world.settings) world.settings[id] = Number(slider.value);
  };
  slider.addEventListener("input", show);
  show();
}

function choose(which) {
  sign = which;
  find("excite").setAttribute("aria-pressed", String(sign > 0));
  find("inhibit").setAttribute("aria-pressed", String(sign < 0));
}

function setPlaying(on) {
  playing = on;
  find("run").setAttribute("aria-pressed", String(on));
  find("run").textContent = on ? "pause" : "run";
}

function setReplaying(on) {
  world.replaying = on;
  find("recorded").setAttribute("aria-pressed", String(on));
  find("background").disabled = on;
  world.reset();
}

find("run").addEventListener("click", () => setPlaying(!playing));
find("reset").addEventListener("click", () => world.reset());
find("recorded").addEventListener("click", () => setReplaying(!world.replaying));
find("excite").addEventListener("click", () => choose(1));
find("inhibit").addEventListener("click", () => choose(-1));
find("fire").addEventListener("click", () => world.fire());
find("clear").addEventListener("click", () => { world.placed = []; });
find("file").addEventListener("change", (event) => { if (event.target.files.length) openFile(event.target.files[0]); event.target.value = ""; });
for (const over of ["dragenter", "dragover"]) {
  document.addEventListener(over, (event) => { event.preventDefault(); document.body.classList.add("over"); });
}
for (const out of ["dragleave", "drop"]) document.addEventListener(out, () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
});
window.addEventListener("resize", resize);

useNeuron(readNeuron(bytesOf(find("saved").textContent)), facts.title, facts);
window.explorer = { get world() { return world; }, get place() { return place; }, get view() { return view; }, frame, openFile, setPlaying };
document.documentElement.setAttribute("data-ready", "true");
requestAnimationFrame(frames);
