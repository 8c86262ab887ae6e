"""``ulmus evaluate``."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ulmus.cli.console import console, print_table, progress, score_rows
from ulmus.data.sources import open_trials
from ulmus.errors import ConfigError
from ulmus.neuron import Surrogate, load
from ulmus.training.evaluation import evaluate as score_trials
from ulmus.training.run import Run, write_text


def evaluate(
    model: Path,
    *,
    data: list[str],
    protocol: str = "stream",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Score a fitted neuron on trials.

    Args:
        model: Run folder, saved surrogate, or authors' checkpoint folder.
        data: Stores or recordings, with optional pattern and slice: 'trials_*.h5[96:]'. May be given several times.
        protocol: stream (whole trials, raw millivolts) or official (the authors' windows and rescaling).
        json: Print JSON.
    """
    surrogate = load_surrogate(model)
    trials = open_trials(data)
    with progress("evaluate") as show:
        scores = score_trials(surrogate, trials, protocol, show)
    result = {**scores, "model": str(model), "data": data, "data_hash": trials.content_hash}
    if Run(model).exists():
        record(Run(model), result)
    if json:
        console.print_json(json_format.dumps(result))
    else:
        print_table(f"{model}, protocol {protocol}", score_rows(scores))


def load_surrogate(model: Path) -> Surrogate:
    """A surrogate from any place it can be.

    Raises:
        ConfigError: a layer was saved there, not a fitted neuron.
    """
    surrogate = load(model)
    if not isinstance(surrogate, Surrogate):
        raise ConfigError(
            f"{model} holds a bare {type(surrogate).__name__}; expected a fitted neuron (ulmus.Surrogate)."
        )
    return surrogate


def record(run: Run, result: dict[str, Any]) -> None:
    """Keep scores in the run folder."""
    write_text(run.evaluation_file(result["protocol"]), json_format.dumps(result, indent=2))
