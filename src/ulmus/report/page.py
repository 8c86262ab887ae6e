"""The report page: every figure, table and text in a single HTML file that loads nothing from outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ulmus.errors import ConfigError, extra
from ulmus.files.writing import write_text
from ulmus.report import figures, morphology, traces
from ulmus.report.content import ClassifierContent, Learned, ScoreRow, SurrogateContent, TimeConstants
from ulmus.report.failure_figures import (
    failure_summary,
    failures_figure,
    interval_summary,
    rates_figure,
)
from ulmus.report.memory_figure import memory_figure, memory_summary

with extra("report", "a report page"):
    import jinja2
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

UNDEFINED = "undefined"


@dataclass(frozen=True)
class Panel:
    """A place for one figure on the page, and the variants of it among which buttons choose."""

    name: str
    variants: tuple[tuple[str, go.Figure], ...]

    @property
    def labels(self) -> list[str]:
        """What the buttons say."""
        return [label for label, _ in self.variants]


def write_report(content: SurrogateContent | ClassifierContent, path: Path) -> Path:
    """Write a report; an existing file is replaced only once the new one is whole.

    Returns:
        The path that was written.

    Raises:
        ConfigError: the path cannot be written, or is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(
            f"{path} is a folder; expected a file name; give for example {path / 'report.html'}."
        )
    write_page(render(content), path)
    return path


def write_page(page: str, path: Path) -> None:
    """Write HTML beside its place, then rename.

    Raises:
        ConfigError: the path cannot be written.
    """
    try:
        write_text(path, page)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}); expected a folder you may write to; choose another path."
        ) from error


def render_page(template: str, panels: Mapping[str, Panel], folder: Path | None = None, **values: Any) -> str:
    """A template of this package, or of `folder`, filled in, with its figures and the script that draws them."""
    ours = jinja2.PackageLoader("ulmus.report", "templates")
    environment = jinja2.Environment(
        loader=ours if folder is None else jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder), ours]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_value
    environment.tests["undefined_score"] = lambda score: format_value(score) == UNDEFINED
    page = environment.get_template(template)
    return page.render(
        panels=panels, figures_json=_figures_json(panels), plotly_js=Markup(get_plotlyjs()), **values
    )


def render(content: SurrogateContent | ClassifierContent) -> str:
    """The report as HTML text."""
    if isinstance(content, ClassifierContent):
        return render_page("classifier.html", classifier_panels(content), content=content)
    return render_page("report.html", build_panels(content), content=content, **_what_is_there(content))


def _what_is_there(content: SurrogateContent) -> dict[str, Any]:
    """What captions say of the figures."""
    return {
        "learned": content.learned,
        "has_inhibition": any(np.any(np.asarray(sign) < 0) for sign in _signs(content)),
        "shared_inputs": content.learned is not None and _most_synapses_per_input(content.learned) > 1,
        "unscored_ms": max((example.unscored_ms for example in content.examples), default=0.0),
        "bin_ms": [traces.bin_width_ms(example) for example in content.examples],
        "ceilings": [traces.raster_ceiling(example) for example in content.examples],
        "clip_mv": next((each.clip_mv for each in content.examples if each.voltage_mv is not None), None),
        "has_spikes": all(example.spike_times_ms is not None for example in content.examples),
        "has_voltage": all(example.voltage_mv is not None for example in content.examples),
        "has_answers": any(example.answers for example in content.examples),
        "has_events": any(traces.signs(example) for example in content.examples),
        "threshold": next((example.spike_threshold for example in content.examples), None),
        "failure_summary": "" if content.failures is None else failure_summary(content.failures),
        "memory_summary": "" if content.memory_encoding is None else memory_summary(content.memory_encoding),
        "interval_summary": "" if content.failures is None else interval_summary(content.failures),
    }


def build_panels(content: SurrogateContent) -> dict[str, Panel]:
    """The panels for which there is something to draw, by name."""
    learned = content.learned
    stretches = () if learned is None else learned.stretches
    variants: dict[str, list[tuple[str, go.Figure]]] = {
        "traces": [(example.label, traces.trace_figure(example, stretches)) for example in content.examples]
    }
    if content.roc is not None:
        variants["roc"] = [
            ("low rates", figures.roc_figure(content.roc, logarithmic=True)),
            ("whole curve", figures.roc_figure(content.roc, logarithmic=False)),
        ]
    if content.learning_curve is not None:
        variants["learning"] = [("learning curve", figures.learning_curve_figure(content.learning_curve))]
    if learned is not None:
        if len(learned.input_sign) > 1:  # the weight of a single input says nothing by itself
            variants["weights"] = [("weights", figures.weight_profile_figure(learned))]
        if learned.geometry is not None:
            variants["morphology"] = [("morphology", morphology.morphology_figure(learned, learned.geometry))]
        if learned.synaptic_weights.shape[1] > 1:
            variants["branches"] = [("branches", figures.branch_weights_figure(learned))]
        tau = TimeConstants("time constants", learned.tau_memory_ms, learned.tau_synapse_ms)
        variants["timescales"] = [(tau.label, figures.time_constants_figure(tau))]
    if content.memory_encoding is not None:
        variants["memory"] = [("memory units", memory_figure(content.memory_encoding))]
    if content.failures is not None:
        variants["failures"] = [("failures", failures_figure(content.failures))]
        if "recall_3ms_all" in content.failures.measures:
            variants["rates"] = [("rates and intervals", rates_figure(content.failures))]
    if content.moments:
        variants["moments"] = [("worst moments", traces.moments_figure(content.moments))]
    return {name: Panel(name, tuple(found)) for name, found in variants.items() if found}


def classifier_panels(content: ClassifierContent) -> dict[str, Panel]:
    """The same for a classifier."""
    curve, confusion = content.learning_curve, content.confusion
    variants = {
        "learning": [] if curve is None else [("learning curve", figures.learning_curve_figure(curve))],
        "confusion": [] if confusion is None else [("confusion", figures.confusion_figure(confusion))],
        "timescales": [(tau.label, figures.time_constants_figure(tau)) for tau in content.time_constants],
    }
    return {name: Panel(name, tuple(found)) for name, found in variants.items() if found}


def _figures_json(panels: Mapping[str, Panel]) -> Markup:
    """All figures as JSON that may stand inside a script element, whatever text they hold."""
    entries = [
        f'"{panel.name}":[{",".join(str(figure.to_json()) for _, figure in panel.variants)}]'
        for panel in panels.values()
    ]
    # Only "<" can end a script element, and in JSON it can only stand inside a string.
    return Markup(("{" + ",".join(entries) + "}").replace("<", "\\u003c"))


def format_value(score: ScoreRow) -> str:
    """A score's value as text: four digits, thousands apart, ``undefined`` for none."""
    value = score.value
    if value is None or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return UNDEFINED
    if isinstance(value, str):
        return value
    whole = isinstance(value, (int, np.integer)) or abs(value) >= 1e4
    digits = ",.0f" if whole else ".4f" if 1e-3 <= abs(value) < 1 else ".4g"
    return f"{value:{digits}}".replace("-", "\N{MINUS SIGN}")


def _signs(content: SurrogateContent) -> list[np.ndarray]:
    """Signs of the inputs, wherever they are given."""
    found = [example.input_sign for example in content.examples]
    return found if content.learned is None else [*found, content.learned.input_sign]


def _most_synapses_per_input(learned: Learned) -> int:
    fed = learned.input_index[np.asarray(learned.connected, dtype=bool)]
    return int(np.bincount(fed, minlength=1).max())
