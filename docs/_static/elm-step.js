// The interactive figure of one step of an ELM neuron: the equations, then the drawing. Loads nothing, works from disk.

// One step: what every part of the neuron holds afterwards. `input` has +1 for an excitatory event, -1 for an inhibitory one.
function elmStep(weights, state, input) {
  const sum = (row, values) => row.reduce((total, weight, k) => total + weight * values[k], 0);
  const layer = ({ weight, bias }, values) => weight.map((row, k) => sum(row, values) + bias[k]);
  const decay = (tau) => Math.exp(-1 / tau);
  const trace = state.trace.map(
    (s, k) => decay(weights.tau_synapse_ms[k]) * s + weights.synapses[k] * input[k]);
  const decayed = state.memory.map((m, k) => decay(weights.tau_memory_ms[k]) * m);
  const hidden = layer(weights.hidden, trace.concat(decayed)).map((value) => Math.max(0, value));
  const proposal = layer(weights.proposal, hidden).map((value) => 1.7159 * Math.tanh((2 / 3) * value));
  const memory = decayed.map(
    (m, k) => m + weights.gain * (1 - decay(weights.tau_memory_ms[k])) * proposal[k]);
  const [logit, scaled] = layer(weights.readout, memory);
  return {
    trace, decayed, hidden, proposal, memory,
    probability: 1 / (1 + Math.exp(-logit)),
    voltage: scaled * weights.mv_per_unit + weights.mv_offset,
  };
}

function elmStepFigure(root, weights) {
  const STEPS = 150;
  const rest = { trace: [0, 0, 0, 0], memory: [0, 0, 0] };
  const sign = [1, 1, 1, -1];
  let waiting = [0, 0, 0, 0], state, past, timer = null, slower = 1;

  const make = (tag, className, parent, text) => {
    const made = document.createElement(tag);
    made.className = className;
    if (text) made.textContent = text;
    parent.appendChild(made);
    return made;
  };
  const number = (value) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(2);

  // A card for every part of the neuron, with a bar for each of its numbers
  const cards = make("div", "elm-cards", root);
  const card = (title, formula) => {
    const made = make("div", "elm-card", cards);
    make("b", "", made, title);
    make("code", "", made, formula);
    return made;
  };
  const bars = (parent, count, largest, label) => Array.from({ length: count }, (_, k) => {
    const row = make("div", "elm-row", parent);
    make("span", "", row, label(k));
    const fill = make("i", "", make("div", "elm-bar", row));
    const value = make("em", "", row);
    return (now) => {
      const share = Math.min(1, Math.abs(now) / largest) * 50;
      fill.style.left = (now < 0 ? 50 - share : 50) + "%";
      fill.style.width = share + "%";
      value.textContent = number(now);
    };
  });
  const inputs = card("Inputs", "x");
  const buttons = sign.map((way, k) => {
    const button = make("button", way > 0 ? "elm-event" : "elm-event elm-inhibitory", inputs, (way > 0 ? "+ " : "− ") + "input " + (k + 1));
    button.type = "button";
    button.onclick = () => { waiting[k] = waiting[k] ? 0 : way; draw(); };
    return button;
  });
  const show = {
    trace: bars(card("Synaptic traces", "s ← κₛ s + w x"), 4, 3, (k) => "s" + "₁₂₃₄"[k]),
    hidden: bars(card("Small network", "MLP(s, κₘ m)"), 4, 2, () => "h"),
    proposal: bars(card("Proposals", "Δm"), 3, 1.7159, (k) => "Δ" + "₁₂₃"[k]),
    memory: bars(card("Memory units", "m ← κₘ m + λ(1 − κₘ) Δm"), 3, 6, (k) => "m" + "₁₂₃"[k]),
  };
  const output = card("Outputs", "y = W m + b");
  const voltage = make("div", "elm-output", output), probability = make("div", "elm-output", output);

  const controls = make("div", "elm-controls", root);
  const press = (text, act) => {
    const button = make("button", "", controls, text);
    button.type = "button";
    button.onclick = act;
    return button;
  };
  press("Step 1 ms", () => { advance(); draw(); });
  const play = press("Run", () => (timer === null ? start() : stop()));
  press("Back to rest", reset);
  const label = make("label", "", controls, "memory time constants × ");
  const slider = make("input", "", label);
  Object.assign(slider, { type: "range", min: -2, max: 2, step: 0.5, value: 0 });
  const factor = make("output", "", label);
  slider.oninput = () => { slower = 2 ** Number(slider.value); draw(); };

  const sentence = make("p", "elm-sentence", root);
  const canvas = make("canvas", "elm-chart", root);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Inputs, memory units and voltage of the last 150 ms");

  function now() {
    return { ...weights, tau_memory_ms: weights.tau_memory_ms.map((tau) => tau * slower) };
  }
  function advance() {
    const before = state;
    state = { ...elmStep(now(), state, waiting), before: before.memory };
    past.push({ input: waiting, memory: state.memory, voltage: state.voltage });
    if (past.length > STEPS) past.shift();
    waiting = [0, 0, 0, 0];
  }
  function settle() {  // without input, until nothing moves
    state = rest;
    for (let k = 0; k < 400; k++) state = { ...elmStep(now(), state, [0, 0, 0, 0]), before: state.memory };
  }
  function reset() { stop(); past = []; waiting = [0, 0, 0, 0]; settle(); draw(); }
  function start() {
    play.textContent = "Pause";
    timer = setInterval(() => { advance(); draw(); }, 60);
  }
  function stop() {
    if (timer !== null) clearInterval(timer);
    timer = null;
    play.textContent = "Run";
  }

  function draw() {
    buttons.forEach((button, k) => button.classList.toggle("elm-waiting", waiting[k] !== 0));
    for (const part of Object.keys(show)) show[part].forEach((set, k) => set(state[part][k]));
    voltage.textContent = "voltage " + (state.voltage < 0 ? "−" : "") + Math.abs(state.voltage).toFixed(1) + " mV";
    probability.textContent = "spike probability " + (100 * state.probability).toFixed(1) + " %";
    factor.textContent = " " + slower.toFixed(2);
    const tau = now().tau_memory_ms[1], keep = Math.exp(-1 / tau);
    sentence.textContent = `m₂ in the last step (time constant ${tau.toFixed(1)} ms): ${keep.toFixed(3)} · ${number(state.before[1])} + ` +
      `${weights.gain} · (1 − ${keep.toFixed(3)}) · ${number(state.proposal[1])} = ${number(state.memory[1])}`;
    chart();
  }

  function chart() {
    const width = root.clientWidth, height = 210, scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.height = height + "px";
    const pen = canvas.getContext("2d"), style = getComputedStyle(root);
    pen.scale(scale, scale);
    pen.font = "12px " + style.fontFamily;
    const colour = (name) => style.getPropertyValue(name).trim();
    const at = (k) => 70 + (k * (width - 80)) / STEPS;
    const text = (words, x, y, tint) => { pen.fillStyle = tint; pen.fillText(words, x, y); };
    const line = (values, low, high, top, tall, tint) => {
      pen.strokeStyle = tint;
      pen.lineWidth = 1.6;
      pen.beginPath();
      values.forEach((value, k) => {
        const y = top + tall * (1 - (value - low) / (high - low));
        if (k) pen.lineTo(at(k), y); else pen.moveTo(at(k), y);
      });
      pen.stroke();
    };
    const plain = style.color;
    text("inputs", 4, 22, plain);
    past.forEach(({ input }, k) => input.forEach((value, which) => {
      if (!value) return;
      pen.fillStyle = colour(value > 0 ? "--elm-blue" : "--elm-red");
      pen.fillRect(at(k) - 1, 4 + 8 * which, 3, 7);
    }));
    [0, 1, 2].forEach((unit) => {
      const tint = colour(["--elm-green", "--elm-purple", "--elm-orange"][unit]);
      text("m" + "₁₂₃"[unit] + "  " + now().tau_memory_ms[unit].toFixed(0) + " ms", 4, 60 + 18 * unit, tint);
      line(past.map(({ memory }) => memory[unit]), -6, 6, 42, 70, tint);
    });
    text("voltage", 4, 150, plain);
    text("−55 mV", 4, 166, plain);
    text("−80 mV", 4, 202, plain);
    line(past.map((step) => step.voltage), -80, -55, 126, 78, plain);
  }

  window.addEventListener("resize", draw);
  new MutationObserver(draw).observe(document.body, { attributes: true });  // the theme's switch between light and dark
  reset();
  // A beginning to look at: three inputs in a row, then two together, then an inhibitory one
  const opening = { 10: [1, 0, 0, 0], 40: [1, 0, 0, 0], 44: [0, 1, 0, 0], 48: [0, 0, 1, 0], 85: [1, 1, 1, 0], 88: [1, 1, 1, 0], 118: [0, 0, 0, -1] };
  for (let k = 0; k < 140; k++) { waiting = opening[k] || [0, 0, 0, 0]; advance(); }
  draw();
}

if (typeof module !== "undefined") module.exports = { elmStep };
else for (const root of document.querySelectorAll(".elm-step")) elmStepFigure(root, ELM_STEP_WEIGHTS);
