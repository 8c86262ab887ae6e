"""The page to play with: its numbers beside Python's, and every control, in a browser."""

import base64
import json
import re
import shutil
import subprocess
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
from browsing import Window
from export_cases import predicted, showing, surrogate

import ulmus
import ulmus.baselines
from ulmus.cli import main
from ulmus.errors import ConfigError
from ulmus.export import write_explorer
from ulmus.geometry import Geometry
from ulmus.report.morphology import seen_flat
from ulmus.trials import Channel, Header, StoreWriter, Trial

HELPERS = """
const find = (id) => document.getElementById(id);
const slide = (id, value) => { find(id).value = value; find(id).dispatchEvent(new Event("input")); };
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
"""

RUN = """
explorer.setPlaying(false);
explorer.world.reset();
const told = [];
for (let step = 0; step < 600; step += 1) {
  const { world } = explorer;
  if (step === 100) find("fire").click();
  world.step();
  told.push([Array.from(world.inputs.subarray(0, world.events)), Array.from(world.values.subarray(0, world.events)),
    1 / (1 + Math.exp(-world.neuron.outputs[0])), world.voltageMv[step % world.window], Array.from(world.neuron.memory)]);
}
return [told, explorer.world.spikes];
"""

SLIDERS = """
const ENDS = { pace: [-1.3, 0, 2.1], excitation: [0, 30], inhibition: [0, 30], synchrony: [0, 1], together: [1, 100],
  rate: [0, 100] }, told = {};
for (const [id, ends] of Object.entries(ENDS)) {
  told[id] = ends.map((value) => { slide(id, value); return document.querySelector(`output[for=${id}]`).textContent; });
}
told.settings = { ...explorer.world.settings };
return told;
"""

PACE = """
const { world } = explorer, told = {};
find("reset").click();
let now = performance.now() + 1000;
const steps = (pace, frames) => {
  slide("pace", pace);
  const before = world.steps;
  for (let k = 0; k < frames; k += 1) explorer.frame(now += 20);
  return world.steps - before;
};
explorer.setPlaying(false);
told.paused = steps(0, 10);
explorer.setPlaying(true);
told.real = steps(0, 100);
told.ten = steps(0.7, 10);
told.fastest = steps(2.1, 4);
told.again = steps(0, 10);
const before = world.steps;
for (let k = 0; k < 100 && world.steps === before; k += 1) await wait(50);
told.alone = world.steps - before;  // by itself, without us
told.speed = find("speed").textContent;
return told;
"""

OPEN = """
const before = explorer.world, told = {}, bytes = Uint8Array.from(atob(OTHER), (letter) => letter.charCodeAt(0));
slide("excitation", 10);
await explorer.openFile(new File([bytes.subarray(0, 50)], "half.safetensors"));
told.wrong = [find("message").textContent, find("message").className, explorer.world === before];
const carried = new DataTransfer();
carried.items.add(new File([bytes], "mine.safetensors"));
document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
for (let k = 0; k < 200 && explorer.world === before; k += 1) await wait(20);
told.opened = [find("title").textContent, explorer.world.neuron.inputs, find("message").textContent, find("message").className];
told.noInhibition = [find("inhibit").disabled, find("inhibition").disabled];
told.carriedOver = explorer.world.settings.excitation;
explorer.frame(performance.now());
const chosen = new DataTransfer();
chosen.items.add(new File([bytes], "again.safetensors"));
find("file").files = chosen.files;
find("file").dispatchEvent(new Event("change"));
for (let k = 0; k < 200 && find("title").textContent !== "again"; k += 1) await wait(20);
told.again = find("title").textContent;
return told;
"""

RECORDED = """
explorer.setPlaying(false);
find("recorded").click();
const told = { shown: !find("recorded").hidden, background: find("background").disabled, rows: [] };
for (let step = 0; step < 700; step += 1) {
  const { world } = explorer, at = step % world.window;
  world.step();
  told.rows.push([world.recordedMv[at], world.recordedSpike[at], world.voltageMv[at]]);
}
explorer.frame(performance.now());
find("recorded").click();
told.after = [explorer.world.steps, find("background").disabled];
return told;
"""


class Explorer(Window):
    """The page in a window, used as a person would: by its mouse."""

    def run(self, script: str) -> Any:
        """What a script returns; the page must be without error after it."""
        found = self.evaluate(HELPERS + script)
        assert self.evaluate("return { ...document.documentElement.dataset }") == {"ready": "true"}
        return found

    def at(self, place: tuple[float, float]) -> tuple[float, float]:
        """Where a place of the cell (um) is in the window."""
        box = "const box = find('cell').getBoundingClientRect();"
        x, y = place
        return self.run(f"{box} return [box.left + explorer.view.x({x}), box.top + explorer.view.y({y})]")

    def drag(
        self, place: tuple[float, float], to: tuple[float, float] | None = None, clicks: int = 1
    ) -> None:
        """Press the button at one place of the cell and release it at another one, or click."""
        self.mouse("mousePressed", *self.at(place), clicks)
        if to is not None:
            self.mouse("mouseMoved", *self.at(to))
        self.mouse("mouseReleased", *self.at(to or place), clicks)

    def placed(self) -> list[list[int]]:
        """Sign and inputs of every placed group."""
        return self.run("return explorer.world.placed.map((one) => [one.sign, ...one.inputs])")


def with_geometry(model):
    rng = np.random.default_rng(0)
    half = model.neuron.inputs // 2
    ends = rng.normal(0, (200, 90, 20), (half, 3))
    model.geometry = Geometry(
        proximal_um=ends,
        distal_um=ends + rng.normal(0, 15, (half, 3)),
        diameter_um=rng.uniform(0.4, 4, half),
        input_piece=np.tile(np.arange(half), 2),
        soma_centre_um=np.array([5.0, -3.0, 1.0]),
        soma_diameter_um=22.0,
    )
    return model


@pytest.mark.parametrize(
    ("case", "size"), [("published, windows", (1400, 900)), ("bounded, squared relu", (400, 800))]
)
def test_the_page_computes_the_surrogate(case, size, browser, tmp_path):
    """Also in a narrow window; the second neuron has a cell that is drawn, the first one a scheme."""
    model = surrogate(case)
    if case != "published, windows":
        with_geometry(model)
    with Explorer(browser, write_explorer(model, tmp_path / "page.html"), size) as page:
        for control, value in (
            ("excitation", 15),
            ("inhibition", 3),
            ("synchrony", 0.4),
            ("rate", 30),
            ("together", 40),
        ):
            page.run(f"slide('{control}', {value})")
        page.drag((60, 80))
        page.run("find('inhibit').click()")
        page.drag((-50, 20))
        rows, spikes = page.run(RUN)
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    x = torch.zeros(len(rows), model.neuron.inputs, dtype=torch.float64)
    for step, (inputs, values, *_) in enumerate(rows):
        assert all(
            value == (1 if channel < 639 else -1) for channel, value in zip(inputs, values, strict=True)
        )
        x[step].index_add_(
            0, torch.tensor(inputs, dtype=torch.long), torch.tensor(values, dtype=torch.float64)
        )
    wanted = predicted(model, x).numpy()
    np.testing.assert_allclose([row[2] for row in rows], wanted[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        [row[3] for row in rows], wanted[:, 1], atol=1e-5
    )  # kept in single precision for drawing
    with ulmus.use_backend("reference"):
        memory = model.neuron.traces(x.unsqueeze(0)).memory[0].detach().numpy()
    np.testing.assert_allclose([row[4] for row in rows], memory, rtol=1e-9, atol=1e-12)
    assert spikes == len(showing(wanted[:, 0].tolist(), model.spike_threshold))
    assert len(rows[100][0]) >= 80  # both groups fired once


def test_every_slider_and_the_pace_do_what_they_say(browser, tmp_path):
    path = write_explorer(
        surrogate("published, windows"),
        tmp_path / "page.html",
        title="<b>mine</b> @SAVED@",
        detailed_cpu_seconds=2.0,
    )
    with Explorer(browser, path) as page:
        assert page.run("return find('title').textContent") == "<b>mine</b> @SAVED@"
        found = page.run(SLIDERS)
        assert found["pace"] == ["0.050 × real time", "1.0 × real time", "as fast as possible"]
        assert found["excitation"] == ["0 Hz per synapse", "30 Hz per synapse"]
        assert found["synchrony"] == ["0 % in volleys", "100 % in volleys"]
        assert found["together"] == ["1", "100"]
        assert found["rate"] == ["0 Hz", "100 Hz"]
        assert found["settings"] == {"excitation": 30, "inhibition": 30, "synchrony": 1, "rate": 100}
        found = page.run(PACE)
        assert found["paused"] == 0
        assert 500 < found["real"] <= 2100  # less where the machine is too busy to keep up
        assert found["ten"] > found["again"]
        assert found["fastest"] >= 4 * 16
        assert 0 < found["again"] <= 330
        assert found["alone"] > 0
        assert re.fullmatch(r"computed [\d.]+ times faster than real time", found["speed"])
        assert "times faster than the detailed model (2 CPU s for a second)" in page.run(
            "return find('detailed').textContent"
        )


def test_synapses_are_placed_dragged_fired_and_removed(browser, tmp_path):
    with Explorer(browser, write_explorer(surrogate("published, windows"), tmp_path / "page.html")) as page:
        page.run("find('run').click()")
        assert page.run("return [find('run').textContent, find('run').ariaPressed]") == ["run", "false"]
        page.run("slide('together', 12)")
        page.drag((50, 50))
        page.run("find('inhibit').click()")
        assert page.run("return [find('excite').ariaPressed, find('inhibit').ariaPressed]") == [
            "false",
            "true",
        ]
        page.drag((-120, 0))
        (one, *excitatory), (other, *inhibitory) = page.placed()
        assert (one, len(excitatory), other, len(inhibitory)) == (1, 12, -1, 12)
        assert max(excitatory) < 639 <= min(inhibitory)
        page.drag((50, 50), to=(-60, -90))
        assert page.placed()[0][0] == 1
        assert set(page.placed()[0][1:]) != set(excitatory)
        np.testing.assert_allclose(page.run("return explorer.world.placed[0].at"), (-60, -90), atol=2)
        for control in ("excitation", "inhibition", "rate"):
            page.run(f"slide('{control}', 0)")
        step = "explorer.world.step(); return explorer.world.events"
        assert page.run(step) == 0
        assert page.run(f"find('fire').click(); {step}") == 24
        page.drag((-120, 0), clicks=1)
        page.drag((-120, 0), clicks=2)
        assert [sign for sign, *_ in page.placed()] == [1]
        page.run("find('clear').click()")
        assert page.placed() == []
        assert page.run("find('reset').click(); return [explorer.world.steps, explorer.world.spikes]") == [
            0,
            0,
        ]


def test_a_neuron_of_ones_own_is_opened(browser, tmp_path):
    other = ulmus.save(surrogate("no hidden layer"), tmp_path / "other.safetensors")
    given = f'const OTHER = "{base64.b64encode(other.read_bytes()).decode()}";'
    with Explorer(browser, write_explorer(surrogate("published, windows"), tmp_path / "page.html")) as page:
        found = page.run(given + OPEN)
    assert "half.safetensors could not be opened: this" in found["wrong"][0]
    assert found["wrong"][1:] == ["wrong", True]
    assert found["opened"] == ["mine", 4, "mine.safetensors: 4 inputs, 6 memory units.", ""]
    assert found["noInhibition"] == [True, True]
    assert found["carriedOver"] == 10
    assert found["again"] == "again"


def store(folder, trials=3, steps=500):
    sign = np.repeat(np.array([1, -1], dtype=np.int8), 639)
    writer = StoreWriter(folder, Header(steps, 1.0, sign, ("soma",), "test"), trials_total=trials)
    for index in range(trials):
        rng = np.random.default_rng(index)
        times, inputs = np.nonzero(rng.random((steps, 1278)) < 0.005)
        voltage = rng.normal(-65, 3, (steps, 1)).astype(np.float32)
        spikes = np.sort(rng.choice(np.arange(10.0, 490.0), index + 1, replace=False))
        writer.add(index, Trial(times.astype(np.int32), inputs.astype(np.uint16), voltage, spikes, {}))
    writer.finish()
    return folder


def test_a_recorded_trial_is_replayed_beside_its_voltage(browser, tmp_path, capsys):
    data = store(tmp_path / "trials")
    with pytest.raises(SystemExit) as ended:
        main(["explore", "l5pc-branch-20", "--data", str(data), "--out", str(tmp_path / "page.html")])
    assert not ended.value.code
    assert str(tmp_path / "page.html") in capsys.readouterr().out.replace("\n", "")
    with Explorer(browser, tmp_path / "page.html") as page:
        found = page.run(RECORDED)
    assert (found["shown"], found["background"], found["after"]) == (True, True, [0, False])
    trials = ulmus.open_trials(str(data))
    trial = trials.trial(1)  # two spikes: the median
    rows = np.array(found["rows"])
    np.testing.assert_array_equal(rows[:500, 0], trial.voltage_mv[:, 0])
    assert np.flatnonzero(rows[:500, 1]).tolist() == trial.spike_time_ms.tolist()
    x = torch.zeros(500, 1278, dtype=torch.float64)
    for step, channel in zip(trial.event_step, trial.event_input, strict=True):
        x[step, int(channel)] += 1 if channel < 639 else -1
    wanted = predicted(surrogate("published, windows"), x)[:, 1]
    np.testing.assert_allclose(rows[:500, 2], wanted, atol=1e-5)
    np.testing.assert_array_equal(rows[500:, 2], rows[:200, 2])  # it starts at rest again


def with_current(folder, scale=0.5):
    """A neuron whose last input is a current, and a trial of it."""
    channel = Channel("current", "nA", scale)
    header = Header(
        300, 1.0, np.array([1, 1, -1, 1], dtype=np.int8), ("soma",), "test", continuous=(channel,)
    )
    rng = np.random.default_rng(0)
    times, inputs = np.nonzero(rng.random((300, 3)) < 0.05)
    current, voltage = (rng.normal(0, size, (300, 1)).astype(np.float32) for size in (0.5, 60))
    writer = StoreWriter(folder, header, trials_total=1)
    writer.add(
        0, Trial(times.astype(np.int32), inputs.astype(np.uint16), voltage, np.array([50.0]), {}, current)
    )
    writer.finish()
    model = surrogate("no hidden layer")
    model.card["continuous"] = [channel._asdict()]
    x = torch.zeros(300, 4, dtype=torch.float64)
    x[times, inputs] = torch.from_numpy(np.where(inputs == 2, -1.0, 1.0))
    x[:, 3] = torch.from_numpy(current[:, 0] / np.float32(scale))
    return model, ulmus.open_trials(str(folder)), x


def test_a_recorded_current_is_replayed_and_gets_no_spikes(browser, tmp_path):
    model, trials, x = with_current(tmp_path / "trials")
    with Explorer(browser, write_explorer(model, tmp_path / "page.html", trials=trials)) as page:
        told = page.run(
            "return [explorer.world.excitatory, explorer.world.inhibitory, find('drawn').textContent]"
        )
        rows = page.run(RECORDED)["rows"]
    assert told[:2] == [[0, 1], [2]]
    assert "Input current is zero but in a recorded trial." in told[2]
    np.testing.assert_allclose([row[2] for row in rows[:300]], predicted(model, x)[:, 1], rtol=1e-6)
    with Explorer(browser, write_explorer(model, tmp_path / "page.html")) as page:
        assert page.run("return [explorer.world.excitatory, explorer.world.inhibitory]") == [[0, 1, 2], []]


def test_a_current_of_another_scale_is_refused(tmp_path):
    model, trials, _ = with_current(tmp_path / "trials")
    model.card["continuous"][0]["scale"] = 2.0
    with pytest.raises(ConfigError, match=r"'scale': 0\.5.*, the neuron .*'scale': 2\.0.* expected the same"):
        write_explorer(model, tmp_path / "page.html", trials=trials)


def test_the_page_loads_nothing_and_holds_any_text(tmp_path):
    title = "</script><script>alert(1)</script> @SCRIPT@"
    page = write_explorer(surrogate("no hidden layer"), tmp_path / "page.html", title=title).read_text()
    assert page.count("</script>") == 4
    assert "default-src 'none'" in page
    for word in ("src=", "href=", "import ", "fetch(", "XMLHttpRequest", "http:", "https:"):
        assert word not in page, word


def test_what_does_not_fit_is_refused(tmp_path, capsys):
    with pytest.raises(ConfigError, match="cannot be written as a page"):
        write_explorer(ulmus.Surrogate(ulmus.baselines.LSTM(4, 2, memory=3)), tmp_path / "page.html")
    trials = ulmus.open_trials(str(store(tmp_path / "trials", steps=600)))
    with pytest.raises(ConfigError, match="the trials have 1278 inputs in steps of 1 ms, the neuron 4"):
        write_explorer(surrogate("no hidden layer"), tmp_path / "page.html", trials=trials)
    with pytest.raises(
        ConfigError, match="the page shows a voltage, but the neuron was fitted to spikes alone"
    ):
        write_explorer(ulmus.Surrogate(ulmus.ELM(4, 1, memory=3), sites=()), tmp_path / "page.html")
    with pytest.raises(SystemExit) as ended:
        main(["explore", "--detailed-seconds", "0", "--out", str(tmp_path / "page.html")])
    assert ended.value.code == 2
    assert "above zero" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


# Input and drawing, in node --------------------------------------------------------------------------------------------

WORLD = """
const bytes = readFileSync("neuron.safetensors");
const neuron = readNeuron(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const world = new World(neuron, inputSigns(neuron.header, neuron.inputs)), told = [];
for (const synchrony of [0, 0.8]) {
  Object.assign(world.settings, { excitation: 20, inhibition: 5, synchrony });
  world.reset(7);
  const counts = [[], []];
  for (let step = 0; step < 20000; step += 1) {
    world.steps += 1;
    world.draw();
    const inhibitory = world.values.subarray(0, world.events).filter((value) => value < 0).length;
    counts[0].push(world.events - inhibitory);
    counts[1].push(inhibitory);
  }
  told.push(counts);
}
const { pieces, inputs } = layout(neuron, world.signs);
console.log(JSON.stringify({ counts: told, signs: Array.from(world.signs), pieces: pieces.map(({ from, to }) => [from, to]),
  inputs: inputs.map(({ piece }) => piece) }));
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("world")
    model = with_geometry(surrogate("bounded, squared relu"))
    ulmus.save(model, folder / "neuron.safetensors")
    text = "\n".join((files("ulmus.export") / name).read_text() for name in ("neuron.js", "world.js"))
    (folder / "main.mjs").write_text('import { readFileSync } from "node:fs";\n' + text + WORLD)
    done = subprocess.run([node, "main.mjs"], cwd=folder, capture_output=True, text=True, check=True)
    return model, json.loads(done.stdout)


def test_input_has_the_rates_of_the_sliders(world):
    _, found = world
    independent, in_volleys = (np.array(counts) for counts in found["counts"])
    for counts in (independent, in_volleys):
        for kind, hz in ((0, 20), (1, 5)):
            expected = 639 * hz / 1000
            spread = counts[kind].std() / np.sqrt(20000)
            assert abs(counts[kind].mean() - expected) < 5 * spread
    # Poisson: the variance is the mean. Volleys at 10 Hz of 639 x 20 Hz x 0.8 / 10 Hz events each add p (1 - p) of their square.
    assert independent[0].var() == pytest.approx(639 * 0.02, rel=0.05)
    volley = 639 * 20 * 0.8 / 10
    assert in_volleys[0].var() == pytest.approx(639 * 0.02 + 0.01 * 0.99 * volley**2, rel=0.25)
    assert in_volleys[1].var() == pytest.approx(639 * 0.005, rel=0.05)


def test_the_cell_is_drawn_as_in_the_report(world):
    model, found = world
    assert found["signs"] == [1] * 639 + [-1] * 639  # on each piece one of either sign
    assert found["inputs"] == model.geometry.input_piece.tolist()
    np.testing.assert_allclose(
        found["pieces"], seen_flat(model.geometry), atol=0.2
    )  # places are saved to 0.1 um
