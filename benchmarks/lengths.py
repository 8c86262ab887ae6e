"""Cost and memory of a training step over the length of the sequence, for models of the Long Range Arena's size.

python benchmarks/lengths.py --out benchmarks/results/lengths-PROCESSOR.json --figure docs/images/cost-over-length.png
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from common import in_own_process, peak_mebibytes, start, write, write_figure
from rich.table import Table
from torch import Tensor

from ulmus.baselines import LSTM, TCN, Transformer
from ulmus.cli.console import console, say
from ulmus.errors import ConfigError, closest
from ulmus.neuron import ELM
from ulmus.report import style

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
INPUTS, CLASSES = 16, 2
MODELS: dict[str, Callable[[], Any]] = {
    "ELM": lambda: ELM(INPUTS, CLASSES, memory=150, tau_memory_ms=(1.0, 2e4)),
    "LSTM": lambda: LSTM(INPUTS, CLASSES, memory=150),
    # Sees 14,329 steps, nearly the longest sequence.
    "TCN": lambda: TCN(INPUTS, CLASSES, channels=64, kernels=[8] * 11, dilation=2),
    "Transformer": lambda: Transformer(INPUTS, CLASSES),
}
"""Memory 150 as in the paper; the Transformer of 0.6 million parameters; a convolutional network that sees as far."""
_ROUNDS, _ENOUGH_SECONDS = 5, 10.0
# Okabe and Ito's colours, the ELM in that of a surrogate.
_COLOURS = {"ELM": style.SURROGATE, "LSTM": "#0068a8", "TCN": "#e69f00", "Transformer": "#c8511b"}


class LengthRow(NamedTuple):
    """Forward and backward of one batch of sequences of one length."""

    model: str
    parameters: int
    batch: int
    steps: int
    """Time steps of every sequence."""
    microseconds_per_step: float
    """CPU time of one thread over batch times steps, median of up to five rounds."""
    mebibytes: float
    """Peak memory beyond what the process held before."""


def bench_lengths(
    lengths: Sequence[int] = LENGTHS,
    models: Sequence[str] | None = None,
    batch: int = 4,
    on_row: Callable[[LengthRow], None] = lambda row: None,
) -> list[LengthRow]:
    """Measure every model at every length, each in a process of its own.

    Args:
        lengths: Steps of the sequences.
        models: Names of the models; all by default.
        batch: Sequences.
        on_row: Called after every measurement.

    Raises:
        ConfigError: an unknown model, or a length or batch that is none.
    """
    for name in models or ():
        if name not in MODELS:
            raise ConfigError(
                f"model {name!r} is not known; expected some of {list(MODELS)}.{closest(name, list(MODELS))}"
            )
    if batch < 1 or min(lengths, default=0) < 1:
        raise ConfigError(f"lengths={list(lengths)}, batch={batch}: expected whole numbers above zero.")
    rows = []
    for name in models or MODELS:
        for steps in lengths:
            rows.append(LengthRow(**in_own_process(__file__, name, steps, batch)))
            on_row(rows[-1])
    return rows


def measure(name: str, steps: int, batch: int) -> None:
    """Measure in this process and print the row as JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = MODELS[name]()
    _train(model, _input(batch, 64))  # compiles, allocates gradients
    x, before = _input(batch, steps), peak_mebibytes(reset=True)
    seconds = [_train(model, x)]
    peak = peak_mebibytes()
    while len(seconds) < _ROUNDS and sum(seconds) < _ENOUGH_SECONDS:
        seconds.append(_train(model, x))
    if len(seconds) > 1:
        seconds = seconds[1:]  # the first one touches its memory for the first time
    cost = 1e6 * statistics.median(seconds) / (batch * steps)
    row = LengthRow(name, model.trainable_parameters(), batch, steps, cost, peak - before)
    print(json.dumps(row._asdict()))


def _input(batch: int, steps: int) -> Tensor:
    """One-hot tokens, as those of the Long Range Arena."""
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(INPUTS, (batch, steps), generator=draw)
    return torch.nn.functional.one_hot(tokens, INPUTS).float()


def _train(model: Any, x: Tensor) -> float:
    """CPU seconds of forward and backward, with the loss on the last output."""
    start = time.process_time()
    model(x)[0][:, -1].square().mean().backward()
    return time.process_time() - start


def lengths_figure(rows: Sequence[LengthRow]) -> go.Figure:
    """CPU time of a step on the left, peak memory on the right, over the length of the sequence; all logarithmic."""
    plot = style.figure(
        440,
        showlegend=True,
        legend={"orientation": "h", "y": 1.14},
        grid={"rows": 1, "columns": 2, "xgap": 0.16},
    )
    across = style.logarithmic_axis(
        "steps of the sequence", 0.9 * min(row.steps for row in rows), 1.1 * max(row.steps for row in rows)
    )
    for name in dict.fromkeys(row.model for row in rows):
        mine = sorted((row for row in rows if row.model == name), key=lambda row: row.steps)
        label = f"{name}, {mine[0].parameters / 1000:,.0f} thousand parameters"
        for panel, values in (
            ("", [row.microseconds_per_step for row in mine]),
            ("2", [row.mebibytes for row in mine]),
        ):
            plot.add_scatter(
                x=[row.steps for row in mine],
                y=values,
                xaxis=f"x{panel}",
                yaxis=f"y{panel}",
                mode="lines+markers",
                name=label,
                legendgroup=name,
                showlegend=not panel,
                line={"color": _COLOURS.get(name, style.MUTED), "width": 2},
                marker={"size": 7},
            )
    plot.update_layout(
        xaxis=across,
        xaxis2={**across, "anchor": "y2"},
        yaxis=style.axis("CPU time of a step (µs)", type="log", dtick=1),
        yaxis2=style.axis("peak memory (MiB)", anchor="x2", type="log", dtick=1),
    )
    return plot


def lengths(*steps: int, batch: int = 4, out: Path | None = None, figure: Path | None = None) -> None:
    """Measure CPU time and peak memory of a training step over the length of the sequence, for four models.

    Args:
        steps: Lengths of the sequences; 256 to 16,384 by default, which takes a quarter of an hour.
        batch: Sequences in a training step.
        out: JSON file to write.
        figure: Page (.html) or picture (.png) to write.
    """
    say("one training step of each model at each length, in processes of their own")
    shown = Table("model", "parameters", "steps", "CPU µs a step", "MiB", title_justify="left")
    rows = bench_lengths(
        steps or LENGTHS, batch=batch, on_row=lambda row: say(f"{row.model}, {row.steps} steps: measured")
    )
    for row in rows:
        cost, memory = f"{row.microseconds_per_step:.2f}", f"{row.mebibytes:.0f}"
        shown.add_row(row.model, f"{row.parameters:,}", f"{row.steps:,}", cost, memory)
    console.print(shown)
    write(rows, out)
    if figure is not None:
        write_figure(lengths_figure(rows), figure)


if __name__ == "__main__":
    start(lengths, measure)
