"""The report file: complete, self-contained, safe against hostile text, and drawn without error by a browser."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import opened

from ulmus.errors import ConfigError
from ulmus.evaluation.failures import SPIKE_KINDS, TIME_KINDS, Failures, Measure, TrialGroup
from ulmus.evaluation.memory_encoding import MemoryEncoding
from ulmus.geometry import Geometry
from ulmus.report import (
    ClassifierContent,
    Confusion,
    Example,
    InputStretch,
    Learned,
    LearningCurve,
    RocCurve,
    ScoreRow,
    SurrogateContent,
    TimeConstants,
    write_report,
)
from ulmus.report.page import format_value

ALL_PANELS = {
    *("traces", "roc", "learning", "weights", "morphology", "branches", "timescales"),
    *("memory", "failures", "rates", "moments"),
}
HOSTILE = "</title></script><script>document.documentElement.dataset.hostile = 1</script><img src=x onerror=alert(1)>"


def example(seed: int, *, sign: np.ndarray, label: str, spikes: int = 5, steps: int = 6000) -> Example:
    rng = np.random.default_rng(seed)
    time_ms = np.arange(steps, dtype=float)
    voltage_mv = -70 + 6 * np.sin(time_ms / 300 + seed) + rng.normal(0, 0.5, steps)
    spike_ms = np.sort(rng.choice(steps - 2, spikes, replace=False)) + 1.0
    voltage_mv[spike_ms.astype(int)] = 25
    return Example(
        label=label,
        time_ms=time_ms,
        voltage_mv=voltage_mv,
        predicted_voltage_mv=voltage_mv.clip(max=-55) + rng.normal(0, 0.5, steps),
        spike_times_ms=spike_ms,
        predicted_spike_times_ms=spike_ms[1:],
        spike_probability=rng.beta(0.2, 20, steps),
        event_time_ms=rng.integers(0, steps, 75_000).astype(float),
        event_input=rng.integers(0, len(sign), 75_000),
        input_sign=sign,
        spike_threshold=0.2,
    )


def measures(**changes: Measure) -> dict[str, Measure]:
    spikes = {
        f"{score}_{kind}": Measure(value, (value - 0.1, value + 0.1), 40)
        for score, value in (
            ("recall_3ms", 0.4),
            ("precision_3ms", 0.4),
            ("found_10ms", 0.6),
            ("backed_10ms", 0.7),
        )
        for kind in (*SPIKE_KINDS, "all")
    }
    voltage = {
        f"{score}_{kind}_mv": Measure(value, (value - 0.1, value + 0.1), 1000)
        for score, value in (("rmse", 1.5), ("bias", -1.0))
        for kind in (*TIME_KINDS, "all")
    }
    chance = {"chance_recall_3ms": Measure(0.05, (0.04, 0.06), 80)}
    return spikes | chance | voltage | changes


def failing(**changes: Any) -> Failures:
    groups = [
        TrialGroup("firing rate", label, 3, measures(), 0.1) for label in ("0 Hz", "1 to 2 Hz", "3 to 4 Hz")
    ]
    rng = np.random.default_rng(0)
    count = rng.integers(0, 20, 40)
    intervals = rng.gamma(1, 60, 300)
    whole = Failures(measures(), tuple(groups), count, count + 1, intervals + 5, intervals, -58.0, ())
    return whole._replace(**changes)


def encoding(units: int = 20) -> MemoryEncoding:
    explained = np.linspace(-0.1, 1, 3 * units).reshape(units, 3)
    change = np.linspace(-0.1, 0.01, units)
    signals = ("basal excitation", "voltage", "all of these")
    return MemoryEncoding(
        np.geomspace(1, 150, units), np.arange(units), signals, explained, change, -10 * change, 32
    )


def content(**changes: Any) -> SurrogateContent:
    rng = np.random.default_rng(0)
    sign = np.repeat([1, -1], 639)
    rate = np.linspace(0, 1, 20_000)
    steps, validations = np.arange(1, 20_001), np.arange(500, 20_001, 500)
    connected = np.ones((45, 100), dtype=bool)
    connected[-1, 60:] = False
    whole = SurrogateContent(
        title="Branch-ELM",
        subtitle="fitted to a layer-5 pyramidal cell",
        scores=(
            ScoreRow("AUC", 0.98934, "", "ranking", headline=True),
            ScoreRow("RMSE", 0.7337, "mV", "error", headline=True),
            ScoreRow("trainable parameters", 8002),
        ),
        examples=tuple(example(seed, sign=sign, label=f"trial {seed}") for seed in range(3)),
        roc=RocCurve(rate, rate**0.05, 0.95, marks=((0.0025, 0.0025**0.05), (0.01, 0.01**0.05))),
        learning_curve=LearningCurve(
            steps,
            1 / steps**0.3,
            validations,
            {"AUC": 1 - 1 / validations, "RMSE (mV)": 1 + 1 / validations},
            best_step=17_500,
        ),
        learned=Learned(
            synaptic_weights=rng.gamma(2, 0.3, (45, 100)),
            connected=connected,
            input_index=rng.integers(0, 1278, (45, 100)),
            tau_memory_ms=np.geomspace(1, 150, 20),
            tau_synapse_ms=np.full(45, 5.0),
            input_sign=sign,
            stretches=(InputStretch("basal", 0, 262), InputStretch("apical", 262, 639)),
            geometry=Geometry(
                proximal_um=(ends := rng.normal(0, 200, (639, 3))),
                distal_um=ends + rng.normal(0, 20, (639, 3)),
                diameter_um=rng.uniform(0.3, 5, 639),
                input_piece=np.tile(np.arange(639), 2),
                soma_centre_um=np.zeros(3),
                soma_diameter_um=20.0,
            ),
        ),
        recipe_yaml="training:\n  steps: 20000\n",
        provenance={"ulmus": "0.1.0"},
        notes=("first note",),
        failures=failing(),
        moments=tuple(example(seed, sign=sign, label=f"moment {seed}", steps=300) for seed in range(3)),
        memory_encoding=encoding(),
    )
    return replace(whole, **changes)


class Page(HTMLParser):
    """What a browser would find in the file: elements with attributes, and the text inside each kind of element."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br", "base"):
            self._open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.text[tag][-1] += data

    def figures(self) -> dict[str, list[dict[str, Any]]]:
        return json.loads(next(text for text in self.text["script"] if text.startswith('{"')))


def decoded(values: Any) -> np.ndarray:
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.asarray(values)


def test_page_holds_every_figure_and_text(tmp_path: Path) -> None:
    page = Page(write_report(content(), tmp_path / "new folder" / "report.html"))
    assert set(page.figures()) == ALL_PANELS
    drawn_into = {attributes["id"] for _, attributes in page.elements if attributes.get("class") == "plot"}
    assert drawn_into == {f"plot-{name}" for name in ALL_PANELS}
    assert len(page.figures()["traces"]) == 3
    everything = page.text["body"][0]
    for words in (
        "trial 2",
        "0.9893",
        "0.7337",
        "8,002",
        "steps: 20000",
        "first note",
        "step 17,500",
        "−55 mV",
        "finds 40 % of isolated spikes, 40 % of first spikes of bursts and 40 % of later spikes of bursts; by chance",
        "error of the voltage is 1.5 mV in plateaus",
        "above −58 mV for 20 ms",
        "Without the unit of 1 ms the AUC falls by 0.1.",
        "of the surrogate's intervals are shorter than the neuron's shortest",
    ):
        assert words in everything, words


def test_figures_hold_the_values_they_were_given(tmp_path: Path) -> None:
    given = content()
    figure = Page(write_report(given, tmp_path / "report.html")).figures()["traces"][1]
    curves = {trace["name"]: trace for trace in figure["data"]}
    expected = {
        "neuron": given.examples[1].voltage_mv,
        "surrogate": given.examples[1].predicted_voltage_mv,
        "spike probability": given.examples[1].spike_probability,
        "spikes of the neuron": None,
    }
    for name, values in expected.items():
        if values is not None:
            np.testing.assert_allclose(decoded(curves[name]["y"]), values, atol=1e-5)
    np.testing.assert_array_equal(
        decoded(curves["spikes of the neuron"]["x"]), given.examples[1].spike_times_ms
    )


def test_figures_of_failures_and_memory_hold_the_values_they_were_given(tmp_path: Path) -> None:
    given = content()
    figures = Page(write_report(given, tmp_path / "report.html")).figures()
    bars = [trace for trace in figures["failures"][0]["data"] if trace["type"] == "bar"]
    shares = np.array([decoded(trace["x"])[0] for trace in bars]).reshape(-1, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)  # found, mistimed and missed are all spikes
    np.testing.assert_allclose(shares[0], [0.4, 0.2, 0.4])
    assert len(shares) == 5 + 3
    heatmap, auc, voltage = figures["memory"][0]["data"]
    np.testing.assert_allclose(
        decoded(heatmap["z"]).reshape(20, 3), 100 * given.memory_encoding.explained.clip(0, 1)
    )
    colours = np.array(auc["marker"]["color"])
    assert (colours == colours[-1]).sum() == 2  # where the score gets better
    np.testing.assert_allclose(decoded(voltage["x"])[0], 1.0)
    curve = figures["rates"][0]["data"][-1]
    np.testing.assert_allclose(
        decoded(curve["x"])[::2], np.sort(given.failures.predicted_intervals_ms), rtol=1e-6
    )
    assert decoded(curve["y"])[-1] == 1


def test_a_surrogate_that_never_fires_is_not_said_to_find_nothing(tmp_path: Path) -> None:
    silent = failing(predicted_count=np.zeros(40, dtype=int), predicted_intervals_ms=np.zeros(0))
    text = Page(write_report(content(failures=silent), tmp_path / "report.html")).text["body"][0]
    assert "never exceeds its threshold" in text
    assert "it finds" not in text
    assert "shorter than the neuron's" not in text


def test_page_loads_nothing_from_outside(tmp_path: Path) -> None:
    page = Page(write_report(content(), tmp_path / "report.html"))
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert not {"src", "href", "srcset", "data", "action", "poster"} & set(attributes), (tag, attributes)
    assert not re.search(r"url\(|@import", "".join(page.text["style"]))
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_a_realistic_page_stays_small(tmp_path: Path) -> None:
    assert write_report(content(), tmp_path / "report.html").stat().st_size < 8e6


def hostile_content() -> SurrogateContent:
    base = content()
    groups = (InputStretch(HOSTILE, 0, 300), InputStretch("apical", 300, 639))
    return replace(
        base,
        title=HOSTILE,
        subtitle=HOSTILE,
        scores=(ScoreRow(HOSTILE, HOSTILE, HOSTILE, HOSTILE, headline=True),),
        examples=(replace(base.examples[0], label=HOSTILE), base.examples[1]),
        learned=replace(base.learned, stretches=groups),
        recipe_yaml=HOSTILE,
        provenance={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
        evaluated_on=HOSTILE,
    )


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    ordinary = Page(write_report(content(), tmp_path / "ordinary.html"))
    hostile = Page(write_report(hostile_content(), tmp_path / "hostile.html"))
    for tag in ("title", "h1", "pre", "dt", "dd", "li", "button"):
        assert any(HOSTILE in text for text in hostile.text[tag]), tag
    scripts = [sum(tag == "script" for tag, _ in page.elements) for page in (ordinary, hostile)]
    assert scripts[0] == scripts[1]
    assert not any(tag == "img" for tag, _ in hostile.elements)


def test_what_cannot_be_drawn_is_explained(tmp_path: Path) -> None:
    page = Page(
        write_report(
            content(
                roc=None, learning_curve=None, examples=(), failures=None, moments=(), memory_encoding=None
            ),
            tmp_path / "report.html",
        )
    )
    assert set(page.figures()) == {"weights", "morphology", "branches", "timescales"}
    assert "fired no spike" in page.text["body"][0]
    assert "too short to log a loss" in page.text["body"][0]
    assert "No example trial" in page.text["body"][0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98934, "0.9893"),
        (0.44, "0.4400"),
        (1.25e-5, "1.25e−05"),
        (8002, "8,002"),
        (np.int64(54002), "54,002"),
        (123456.7, "123,457"),
        (-1.5, "−1.5"),
        (None, "undefined"),
        (float("nan"), "undefined"),
        (np.float32("nan"), "undefined"),
        ("stream", "stream"),
    ],
)
def test_values_are_written_for_readers(value: Any, text: str) -> None:
    assert format_value(ScoreRow("", value)) == text


def test_path_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder.*report\.html"):
        write_report(content(), tmp_path)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(content(), tmp_path / "file" / "report.html")


def test_a_failed_report_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full_disk(self: Path, *_: Any, **__: Any) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(ConfigError, match="No space left"):
        write_report(content(), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


# In a browser -------------------------------------------------------------------------------------------------------


CLICK_EVERYTHING = """
setTimeout(function () {
  var root = document.documentElement;
  document.querySelectorAll(".choice button").forEach(function (button) { button.click(); });
  setTimeout(function () {
    Plotly.relayout("plot-traces", {"xaxis.range": [1000, 1500]}).then(function () {
      var empty = Array.from(document.querySelectorAll(".plot")).filter(function (plot) {
        return !plot.querySelector(".scatterlayer .trace path, .heatmaplayer image");
      });
      root.setAttribute("data-empty", empty.map(function (plot) { return plot.id; }).join(","));
      root.setAttribute("data-pressed", document.querySelectorAll("button[aria-pressed=true]").length);
    });
  }, 500);
}, 500);
"""


def test_a_browser_draws_every_figure(browser: str, tmp_path: Path) -> None:
    root = opened(browser, write_report(content(), tmp_path / "report.html"), CLICK_EVERYTHING)
    assert "script-error" not in root, root
    assert root["figures-drawn"] == root["figures-expected"] == str(len(ALL_PANELS))
    assert root["empty"] == ""
    assert root["pressed"] == "2"


def test_a_browser_runs_no_hostile_text(browser: str, tmp_path: Path) -> None:
    root = opened(browser, write_report(hostile_content(), tmp_path / "report.html"), CLICK_EVERYTHING)
    assert "script-error" not in root, root
    assert "hostile" not in root
    assert root["figures-drawn"] == str(len(ALL_PANELS))


def test_a_browser_draws_a_neuron_without_inhibition_branches_or_spikes(browser: str, tmp_path: Path) -> None:
    sign = np.ones(30, dtype=int)
    silent = replace(
        example(0, sign=sign, label="silent", spikes=0), predicted_spike_times_ms=np.zeros(0), clip_mv=None
    )
    steps = np.arange(3)
    none = Measure(None, None, 0)
    nothing = {key: none for key in measures() if not key.endswith(("all_mv", "silent_mv"))}
    plain = content(
        failures=failing(
            measures=measures(**nothing),
            groups=(),
            recorded_count=np.zeros(3, dtype=int),
            predicted_count=np.zeros(3, dtype=int),
            recorded_intervals_ms=np.zeros(0),
            predicted_intervals_ms=np.zeros(0),
        ),
        moments=(silent,),
        memory_encoding=encoding(100)._replace(auc_change=np.full(100, np.nan)),
        examples=(silent,),
        scores=(ScoreRow("AUC", None, "", "no spike", headline=True),),
        roc=None,
        learning_curve=LearningCurve(
            steps, np.zeros(3), steps, {"AUC": np.full(3, np.nan), "RMSE (mV)": np.ones(3)}
        ),
        learned=Learned(
            synaptic_weights=np.full((30, 1), 0.5),
            connected=np.ones((30, 1), dtype=bool),
            input_index=np.arange(30)[:, None],
            tau_memory_ms=np.array([0.0, 30.0]),
            tau_synapse_ms=np.linspace(2, 8, 30),
            input_sign=sign,
        ),
    )
    root = opened(browser, write_report(plain, tmp_path / "report.html"))
    assert "script-error" not in root, root
    assert root["figures-drawn"] == root["figures-expected"] == "8"


def test_a_browser_draws_the_page_of_a_classifier(browser: str, tmp_path: Path) -> None:
    steps = np.arange(1, 50)
    validation = {"loss": 1 / steps, "accuracy (%)": 100 - 90 / steps}
    classifier = ClassifierContent(
        title=HOSTILE,
        subtitle="tells digits apart",
        scores=(ScoreRow("Test accuracy", 87.5, "%", "of 60", headline=True),),
        learning_curve=LearningCurve(steps, 1 / steps, steps, validation, best_step=30),
        confusion=Confusion((HOSTILE, *"123456789"), np.eye(10, dtype=int) * 5 + 1),
        confusion_absent="",
        time_constants=tuple(
            TimeConstants(name, np.geomspace(1, 100, 20), np.array([5.0])) for name in ("layer 1", "layer 2")
        ),
        recipe_yaml="name: digits",
    )
    root = opened(browser, write_report(classifier, tmp_path / "report.html"))
    assert "script-error" not in root, root
    assert "hostile" not in root
    assert root["figures-drawn"] == root["figures-expected"] == "3"


@pytest.mark.parametrize(
    ("script", "recorded"),
    [
        ("throw new Error('deliberate');", "deliberate"),
        (
            "document.body.appendChild(document.createElement('img')).src = 'http://127.0.0.1:9/x.png';",
            "img-src",
        ),
        ("Promise.reject('broken promise');", "broken promise"),
    ],
)
def test_the_page_records_what_goes_wrong(browser: str, tmp_path: Path, script: str, recorded: str) -> None:
    root = opened(browser, write_report(content(examples=()), tmp_path / "report.html"), script)
    assert recorded in root["script-error"]
