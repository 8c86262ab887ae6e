"""A page to play with a fitted neuron: one file, no server, nothing loaded from elsewhere."""

import base64
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ulmus.errors import ConfigError
from ulmus.export.constants import surrogate_of_elm
from ulmus.export.javascript import runtime, saved
from ulmus.files.writing import write_text
from ulmus.trials import TrialSource

LONGEST_MS = 10_000.0
"""Of a recorded trial, no more than this is put into the page."""


def write_explorer(
    model: nn.Module,
    path: str | Path,
    *,
    title: str = "fitted neuron",
    trials: TrialSource | None = None,
    detailed_cpu_seconds: float | None = None,
    detailed_source: str = "",
) -> Path:
    """Write a page that runs a fitted neuron live: its dendrites, sliders for its input, synapses to place, its memory.

    The neuron computes in the browser, in double precision, what `Surrogate.predict` computes.

    Args:
        model: A `Surrogate` of an `ELM`; with a ``geometry``, its dendrites are drawn, otherwise a scheme of its branches.
        path: File to write; an existing one is replaced once the new one is whole.
        title: Heading of the page.
        trials: Trials of the detailed neuron; one of them can be replayed, its recorded voltage beside the predicted one.
        detailed_cpu_seconds: CPU time that the detailed neuron takes for a second, to compare with; none by default.
        detailed_source: Where that figure comes from, in a few words.

    Raises:
        ConfigError: the model is not a surrogate of an ELM, or the trials do not fit it.
        OSError: the file cannot be written.
    """
    surrogate, path = surrogate_of_elm(model, "a page"), Path(path)
    facts: dict[str, Any] = {"title": title, "detailed_cpu_seconds": detailed_cpu_seconds}
    facts["detailed_source"] = detailed_source
    if not surrogate.sites or (trials is not None and not trials.header.sites):
        what = "the trials have none" if surrogate.sites else "the neuron was fitted to spikes alone"
        raise ConfigError(
            f"the page shows a voltage, but {what}; expected a neuron and trials with a voltage."
        )
    if trials is not None:
        neuron, header = surrogate.neuron, trials.header
        if (header.inputs, header.dt_ms) != (neuron.inputs, neuron.dt_ms):
            raise ConfigError(
                f"the trials have {header.inputs} inputs in steps of {header.dt_ms:g} ms, the neuron {neuron.inputs} in steps "
                f"of {neuron.dt_ms:g} ms; expected the same. Give trials of the neuron that it was fitted to."
            )
        channels = [channel._asdict() for channel in header.continuous]
        if channels != surrogate.continuous:
            raise ConfigError(
                f"the trials have the continuous inputs {channels}, the neuron {surrogate.continuous}; expected the same. Give "
                "trials of the neuron that it was fitted to."
            )
        signs = [*header.input_sign[: header.event_inputs].tolist(), *(0 for _ in channels)]
        facts |= {"signs": signs, "recorded": _recorded(trials)}
    place = files("ulmus.export")
    # Of the modules only the words that would make them modules are left out: all share one script element.
    script = "\n".join(
        [runtime(), *((place / name).read_text(encoding="utf-8") for name in ("world.js", "explorer.js"))]
    )
    page = (place / "explorer.html").read_text(encoding="utf-8")
    texts = {
        "TITLE": html.escape(title),
        "SAVED": saved(surrogate),
        "FACTS": json.dumps(facts).replace("<", "\\u003c"),  # only "<" can end a script element
        "SCRIPT": script.replace("export ", ""),
    }
    page = re.sub("@(TITLE|SAVED|FACTS|SCRIPT)@", lambda found: texts[found[1]], page)
    write_text(path, page)
    return path


def _recorded(trials: TrialSource) -> dict[str, Any]:
    """The trial with the median number of spikes among those that have some, or the first."""
    counts = np.array([len(trials.trial(index).spike_time_ms) for index in range(len(trials))])
    order = np.argsort(counts, kind="stable")
    firing = order[counts[order] > 0]
    trial = trials.trial(int(firing[len(firing) // 2]) if firing.size else 0)
    steps = min(trials.header.steps, round(LONGEST_MS / trials.header.dt_ms))
    kept = trial.event_step < steps
    order = np.argsort(trial.event_step[kept], kind="stable")
    first = np.searchsorted(trial.event_step[kept][order], np.arange(steps + 1))
    spikes = trial.spike_time_ms[trial.spike_time_ms < steps * trials.header.dt_ms]
    empty = np.zeros((steps, 0), np.float32)
    continuous = empty if trial.continuous is None else trial.continuous[:steps]
    scales = np.array([channel.scale for channel in trials.header.continuous], np.float32)
    return {
        "continuous": _base64((continuous / scales).astype("<f4")),
        "first_event": _base64(first.astype("<i4")),
        "event_input": _base64(trial.event_input[kept][order].astype("<i4")),
        "voltage_mv": _base64(trial.voltage_mv[:steps, 0].astype("<f4")),
        "spike_time_ms": np.round(spikes, 2).tolist(),
    }


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
