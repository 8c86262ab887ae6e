"""Cost and memory of a training step over the length of the sequence, for models of the Long Range Arena's size."""

import ctypes
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ulmus.baselines import LSTM, TCN, Transformer
from ulmus.errors import ConfigError, closest
from ulmus.neuron import ELM

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
_CODE = "import sys; from ulmus.bench.lengths import measure; measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"


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
            command = [sys.executable, "-c", _CODE, name, str(steps), str(batch)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(LengthRow(**json.loads(done.stdout)))
            on_row(rows[-1])
    return rows


def measure(name: str, steps: int, batch: int) -> None:
    """Measure in this process and print the row as JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = MODELS[name]()
    _train(model, _input(batch, 64))  # compiles, allocates gradients
    x, before = _input(batch, steps), _peak_mebibytes(reset=True)
    seconds = [_train(model, x)]
    peak = _peak_mebibytes()
    while len(seconds) < _ROUNDS and sum(seconds) < _ENOUGH_SECONDS:
        seconds.append(_train(model, x))
    if len(seconds) > 1:
        seconds = seconds[1:]  # the first one touches its memory for the first time
    cost = 1e6 * statistics.median(seconds) / (batch * steps)
    row = LengthRow(name, model.trainable_parameters(), batch, steps, cost, peak - before)
    print(json.dumps(row._asdict()))  # noqa: T201 - read by the process that started this one


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


def _peak_mebibytes(reset: bool = False) -> float:
    """Most memory this process held, since the last reset where the system can forget (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if reset:
        with suppress(AttributeError):  # only glibc keeps freed memory that it can be told to give back
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
