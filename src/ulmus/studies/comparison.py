"""Fitted neurons that are no runs of a study, such as the authors' checkpoints, scored on the same trials as its runs."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ulmus.errors import ConfigError, DataError
from ulmus.evaluation.predictions import PROTOCOLS
from ulmus.evaluation.scores import evaluate
from ulmus.files.reading import read_json
from ulmus.files.writing import write_json
from ulmus.neuron import Surrogate, load
from ulmus.neuron.files import weights_hash
from ulmus.studies.running import TestTrials


class Compared(NamedTuple):
    """A fitted neuron and its scores by protocol."""

    name: str
    scores: dict[str, dict[str, Any]]


def score_compared(sources: Sequence[Path], folder: Path, test: TestTrials) -> list[Compared]:
    """Score fitted neurons under every protocol, each once; scores are kept in the folder of the study."""
    chosen = list(dict.fromkeys(sources))
    alike = Counter(_name(source) for source in chosen)
    names = [_name(source) if alike[_name(source)] == 1 else str(source) for source in chosen]
    return [Compared(name, _scores(source, folder, test)) for name, source in zip(names, chosen, strict=True)]


def _name(source: Path) -> str:
    return source.name.removesuffix(".safetensors")


def _scores(source: Path, folder: Path, test: TestTrials) -> dict[str, dict[str, Any]]:
    surrogate = load(source)
    if not isinstance(surrogate, Surrogate):
        raise ConfigError(
            f"{source} is a {type(surrogate).__name__}; expected a neuron that was fitted to trials. Leave it out."
        )
    of = {
        "data_hash": test.trials.content_hash,
        "weights_sha256": weights_hash(surrogate.state_dict()),
        "config": surrogate.neuron.config,
    }
    file = folder / "beside" / f"{_name(source)}-{str(of['weights_sha256'])[:8]}.json"
    kept: dict[str, Any] = {}
    with suppress(DataError):  # not there, or damaged: it is only a copy of what is computed below
        kept = read_json(file)
    if any(kept.get(key) != value for key, value in of.items()):
        scores = {name: evaluate(surrogate, test.trials, name) for name in PROTOCOLS}
        kept = of | {"source": str(source), "data": list(test.specs), "scores": scores}
        write_json(file, kept)
    return dict(kept["scores"])
