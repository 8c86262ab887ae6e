"""Train any model on arrays, tensors, data sets or files, from Python."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from ulmus.errors import CheckpointError, ConfigError, DataError
from ulmus.neuron import load
from ulmus.neuron.files import file_content, is_described
from ulmus.neuron.predictor import LOOKING_AHEAD, Predictor, SequencePrediction, Task
from ulmus.sequences.arrays.batches import side_by_side
from ulmus.sequences.arrays.files import read_sequences, step_ms
from ulmus.sequences.arrays.sequence_set import Input, SequenceSet, sequence_set
from ulmus.sequences.arrays.settings import MEMORY, divided, windows
from ulmus.training.callbacks import Callback, Logger, TrainingProgress
from ulmus.training.fit import fit as fit_recipe
from ulmus.training.kinds.array_task import fitting
from ulmus.training.kinds.arrays import ArraysProblem, ArraysRecipe
from ulmus.training.recipe import Recipe
from ulmus.training.recipe_file import parse_recipe
from ulmus.training.run import Run

_PREDICTED_AT_ONCE = 64


class SequenceRun(Run):
    """A run folder, and the best model of the run.

    Attributes:
        model: The model with the best validation score, its task, classes and scales.
    """

    model: Predictor

    def __init__(self, folder: str | Path, model: nn.Module | None = None) -> None:
        super().__init__(folder)
        self._architecture = model
        self._temporary: Any = None

    def load_best(self) -> "SequenceRun":
        """Read the best model."""
        self.model = load(self.folder, self._architecture)
        return self

    @property
    def history(self) -> list[dict[str, Any]]:
        """Logged losses (``step``, ``loss``, ...) and validations (``step``, ``validation``), in order."""
        return self.metrics()

    @property
    def best(self) -> dict[str, Any]:
        """Validation scores of the best model."""
        return dict(self.model.card["validation"])

    def predict(self, values: Any, lengths: Any = None) -> SequencePrediction:
        """Answers of the best model for sequences in any form that `ulmus.fit` takes: names of classes are
        ``run.model.answers``.

        Raises:
            DataError: the sequences do not fit the model.
        """
        sequences = fitting(_sequences(values, self.recipe(), "the data to predict", lengths), self.model)
        found = [
            self.model.predict(*side_by_side(sequences, chosen.tolist()))
            for chosen in np.array_split(np.arange(len(sequences)), -(-len(sequences) // _PREDICTED_AT_ONCE))
        ]
        values = _padded([part.values for part in found])
        probabilities = [part.probability for part in found if part.probability is not None]
        return SequencePrediction(values, _padded(probabilities) if probabilities else None)

    def evaluate(self, test: Any) -> dict[str, Any]:
        """Scores of the best model on sequences with targets, in any form that `ulmus.fit` takes.

        Raises:
            DataError: the sequences do not fit the model.
        """
        recipe = self.recipe()
        if not isinstance(recipe, ArraysRecipe):
            raise ConfigError(f"{self.folder} is no run on sequences; score it with ulmus.evaluate.")
        sequences = _sequences(test, recipe, "the test data")
        if recipe.data.window is not None:
            sequences = windows(sequences, recipe.data.window, recipe.data.stride or recipe.data.window, True)
        return recipe.scores(sequences, self.model)


@overload
def fit(
    model: Recipe | str | Path,
    train: str | Path,
    *,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> Run: ...


@overload
def fit(
    model: nn.Module | str | Mapping[str, Any],
    train: Any,
    validation: Any = 0.2,
    *,
    task: Task | Mapping[str, Any],
    folder: str | Path | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    schedule: str = "cosine",
    weight_decay: float = 0.0,
    clip_norm: float | None = 1.0,
    ema_decay: float = 0.0,
    patience: int | None = None,
    precision: str = "32-true",
    accelerator: str = "cpu",
    devices: int = 1,
    seed: int = 0,
    dt_ms: float | None = None,
    split_by: str | None = None,
    split: Literal["random", "time"] = "random",
    input: Input | None = None,
    missing: Literal["refuse", "mask"] = "refuse",
    normalise: bool = True,
    window: int | None = None,
    training: Mapping[str, Any] | None = None,
    name: str = "sequences",
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> SequenceRun: ...


def fit(
    model: Recipe | nn.Module | str | Path | Mapping[str, Any],
    train: Any,
    validation: Any = 0.2,
    *,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    folder: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Train a recipe in a run folder, ``fit(recipe, folder)``, or any model on sequences, ``fit(model, train, task=...)``.

    An interrupted run resumes and ends as if it had never stopped.

    Args:
        model: A recipe, its file, or the name of a shipped one; see `ulmus.load_recipe` to change its keys. For sequences:
            a module called as ``y, state = model(x)``, such as `ulmus.ELM`, `torch.nn.LSTM` or one of your own; or a kind by
            its word (``"elm"``, ``"lstm"``, ``"tcn"``, ``"transformer"``), or ``{"kind": "elm", "memory": 50}``.
        train: For a recipe, the run folder. For sequences ``(values, targets)`` or ``(values, targets, lengths)``; a
            dictionary with these names and ``mask``, ``channels`` and columns such as ``subject``; values alone for
            forecasting and next-token; a `Dataset` of ``(values, target)``, or the `DataLoader` of one, whose batches and order
            are not used; or a file. Values are ``[sequence, time, channel]``, or a list with an array for each sequence.
        validation: Sequences in the same form, or a share of ``train``; they choose the best weights.
        resume: Go on from the last checkpoint in the folder.
        on_progress: Called after every logged step and every validation.
        stop: Asked after every step; when it says yes, the state is saved and `fit` returns early.
        callbacks: See `ulmus.training.Callback`.
        loggers: Receive metrics in addition to the run folder; Lightning's loggers fit.
        folder: For sequences, the run folder; a temporary one by default, which vanishes with the run.
        settings: For sequences. ``task`` is needed: classification, step-classification, regression, step-regression,
            forecasting or next-token, or a dictionary with its settings (``{"kind": "forecasting", "horizon": 5}``). Then
            ``epochs`` (30) or ``steps``, ``batch_size`` (32), ``learning_rate`` (1e-3), ``optimizer``, ``schedule``,
            ``weight_decay``, ``clip_norm`` (1), ``ema_decay``, ``patience`` (early stopping), ``precision``,
            ``accelerator``, ``devices``, ``seed``, ``dt_ms``, ``split_by``, ``split``, ``input``, ``missing``,
            ``normalise``, ``window``, ``name``, and ``training`` for any other key of a recipe's training.

    Returns:
        The run: `ulmus.load` reads its best checkpoint from ``run.folder``, `ulmus.evaluate` and `ulmus.report` take the
        folder too. Of sequences also ``history``, ``model`` (the best), ``best`` (its validation scores),
        ``predict(values)``, ``evaluate(test)``.

    Example:
        >>> recipe = ulmus.load_recipe("demo", {
        ...     "data.train": ["lif[:3]"], "data.validation": ["lif[3:]"], "data.window_ms": 200, "data.burn_in_ms": 50,
        ...     "model.branches": 10, "model.synapses_per_branch": 10, "model.routing": "dense",
        ...     "training.steps": 4, "training.validate_every": 4,
        ... })
        >>> run = ulmus.fit(recipe, "runs/lif")
        >>> ulmus.load(run.folder).card["step"]
        4
        >>> x = torch.randn(80, 30, 2)
        >>> run = ulmus.fit(ulmus.ELM(2, memory=8), (x, (x[:, -1, 0] > 0).long()), task="classification", epochs=2)
        >>> run.predict(x[:5]).probability.shape
        torch.Size([5, 2])

    Raises:
        ConfigError: a setting that is not known or does not fit, or a folder that holds a run already.
        CheckpointError: the run in the folder cannot be resumed.
        DataError: data are missing, damaged, or do not fit the task or each other; named before anything is trained.
        DivergedError: a loss, gradient or prediction is not finite; the run folder notes it.
    """
    told: dict[str, Any] = {
        "resume": resume, "on_progress": on_progress, "stop": stop, "callbacks": callbacks, "loggers": loggers,
    }  # fmt: skip
    _check_model(model)
    if settings.get("devices", 1) > 1 and folder is None:
        raise ConfigError(
            f"devices={settings['devices']} start as many processes, which share a run folder; expected folder=."
        )
    given = isinstance(train, str | Path)
    if isinstance(model, Recipe | Path) or (isinstance(model, str) and given and "task" not in settings):
        if settings or folder is not None:
            raise ConfigError(
                f"fit(recipe, folder) takes no {next(iter(settings), 'folder=')}; set it in the recipe: "
                f"load_recipe(name, {{key: value}})."
            )
        return fit_recipe(model, train, **told)
    recipe = _recipe(model, validation, settings)
    parts, step = _parts(train, validation, recipe)
    module = model if isinstance(model, nn.Module) else None
    problem = ArraysProblem(recipe, parts, step, module)
    own = module is not None and not is_described(module)
    _check_trained(problem.model)
    temporary = tempfile.TemporaryDirectory(prefix="ulmus-") if folder is None else None
    where = Path(temporary.name) / "run" if temporary else Path(folder or "")
    fit_recipe(recipe, where, problem=problem, **told)
    run = SequenceRun(where, module if own else None)
    run._temporary = temporary  # it is deleted with the run
    return run.load_best()


def _check_model(model: Any) -> None:
    """Refuse what is no model and describes none.

    Raises:
        ConfigError: names it.
    """
    if not isinstance(model, Recipe | Path | str | Mapping | nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise ConfigError(
            f"the model is {what}; expected a module (an object, not its class), a kind by its word such as 'elm', a dictionary "
            "with its settings, or a recipe."
        )
    if hasattr(model, "_orig_mod"):
        raise ConfigError(
            "the model was compiled by torch.compile; expected the module itself, whose weights are kept. Give that one, and "
            "compile what fit returns."
        )
    if isinstance(model, nn.Module) and any(value.is_meta for value in model.parameters()):
        raise ConfigError(
            f"the {type(model).__name__} lies on device meta, without values; expected weights. Call to_empty(device='cpu') and "
            "reset_parameters() first, or build it on the CPU."
        )


def _check_trained(model: Predictor) -> None:
    """Refuse, before training, what cannot be trained or kept.

    Raises:
        ConfigError: says why.
    """
    kind = type(model.model).__name__
    if not model.trainable_parameters():
        raise ConfigError(
            f"the {kind} has no parameter that is trained; expected some with requires_grad. Call requires_grad_(True) on what "
            "fit should change."
        )
    try:
        file_content(model)
    except CheckpointError as error:
        raise ConfigError(f"the {kind} cannot be trained, as it could not be kept: {error}") from error


_TRAINING = {
    "epochs": "epochs", "steps": "steps", "batch_size": "batch", "learning_rate": "learning_rate", "optimizer": "optimizer",
    "schedule": "schedule", "weight_decay": "weight_decay", "clip_norm": "clip_norm", "ema_decay": "average",
    "patience": "patience", "precision": "precision", "accelerator": "accelerator", "devices": "devices",
}  # fmt: skip
"""Arguments, and what a recipe calls them."""
_DATA = ("dt_ms", "split_by", "split", "input", "missing", "normalise", "window", "sample_rate_hz", "workers")


def _recipe(
    model: nn.Module | str | Mapping[str, Any], validation: Any, settings: dict[str, Any]
) -> ArraysRecipe:
    """The recipe that says the same as the arguments."""
    if "task" not in settings:
        raise ConfigError(
            "no task was given; expected task='classification', 'regression', 'forecasting', or another."
        )
    known = [*_TRAINING, *_DATA, "task", "seed", "name", "training", "test"]
    if unknown := [key for key in settings if key not in known]:
        raise ConfigError(
            f"fit has no argument {unknown[0]!r}; expected some of {known}. Other keys of training go in training={{}}."
        )
    training = {"batch": 32, "learning_rate": 1e-3, "clip_norm": 1.0, "log_every": 10}
    training |= {_TRAINING[key]: value for key, value in settings.items() if key in _TRAINING}
    training |= settings.get("training", {})
    if not {"steps", "epochs"} & training.keys():
        training["epochs"] = 30
    if isinstance(model, nn.Module):
        described: Any = {"kind": "custom", "of": type(model).__name__}
    else:
        described = {"kind": model} if isinstance(model, str) else dict(model)
    shares = {"validation": validation} if isinstance(validation, float | int) else {"validation": MEMORY}
    data = {
        "kind": "arrays",
        "train": MEMORY,
        **shares,
        **{key: settings[key] for key in _DATA if key in settings},
    }
    values = {
        "name": settings.get("name", "sequences"), "seed": settings.get("seed", 0), "model": described, "data": data,
        "task": settings["task"], "training": training,
    }  # fmt: skip
    recipe = parse_recipe(values, "the arguments of fit")
    assert isinstance(recipe, ArraysRecipe)
    return recipe


def _parts(train: Any, validation: Any, recipe: ArraysRecipe) -> tuple[dict[str, SequenceSet], float]:
    data, task = recipe.data, recipe.task.kind
    others = {}
    if validation is None:
        raise ConfigError(
            "validation=None leaves nothing to choose the best weights by; expected a share such as 0.2, or sequences."
        )
    if not isinstance(validation, float | int):
        others["validation"] = _sequences(validation, recipe, "the validation data")
    step = 1.0 if data.sample_rate_hz is None else 1000 / data.sample_rate_hz
    step = data.dt_ms or step
    if isinstance(train, str | Path):
        step = step_ms([str(train)], data.layout(task))
    return divided(data, task, _sequences(train, recipe, "the training data"), others), step


def _sequences(given: Any, recipe: Recipe, origin: str, lengths: Any = None) -> SequenceSet:
    """Sequences in any form."""
    if isinstance(given, SequenceSet):
        return given
    data = recipe.data
    task = recipe.task.kind if isinstance(recipe, ArraysRecipe) else "classification"
    if isinstance(given, str | Path):
        return read_sequences([str(given)], data.layout(task))
    options: dict[str, Any] = {"input": data.input, "missing": data.missing, "origin": origin}
    if isinstance(given, DataLoader):
        given = _dataset_of(given, origin)
    if isinstance(given, Dataset):
        return _of_dataset(given, options)
    if isinstance(given, Mapping):
        named = dict(given)
        if "values" not in named:
            raise DataError(
                f"{origin} has the keys {sorted(named)}; expected 'values', and 'targets' where the task needs some."
            )
        if "targets" not in named and set(named) & {"target", "label", "labels", "y"}:
            raise DataError(
                f"{origin} has the keys {sorted(named)} and no 'targets'; expected them under this name."
            )
        parts = {
            key: named.pop(key)
            for key in ("values", "targets", "lengths", "mask", "channels")
            if key in named
        }
        return sequence_set(**parts, columns=named, **options)
    if isinstance(given, tuple) and len(given) in (2, 3) and task not in LOOKING_AHEAD:
        return sequence_set(*given, **options)
    _check_form(given, task, origin)
    return sequence_set(given, lengths=lengths, **options)


def _check_form(given: Any, task: Task, origin: str) -> None:
    """Refuse what is no array and no list of sequences.

    Raises:
        DataError: it is nothing, a generator, pairs, or comes with targets that the task has not.
    """
    forms = "(values, targets), a dictionary with 'values' and 'targets', a Dataset, a DataLoader or a file"
    if isinstance(given, tuple) and task in LOOKING_AHEAD:
        raise DataError(
            f"{origin} is a tuple of {len(given)}, but task {task} needs no targets: they are what the values are later. Give "
            "the values alone, several sequences as a list."
        )
    if not hasattr(given, "__len__"):
        raise DataError(
            f"{origin} is a {type(given).__name__}; expected {forms}. Make a list of a generator."
        )
    first = given[0] if isinstance(given, list) and given else None
    if isinstance(first, tuple):
        raise DataError(
            f"{origin} is a list of tuples; expected {forms}. Separate pairs with values, targets = zip(*pairs)."
        )


def _dataset_of(loader: DataLoader[Any], origin: str) -> Dataset[Any]:
    """What a loader loads; in which order and batches is for `fit` to say.

    Raises:
        DataError: it draws in a way of its own, which would be lost.
    """
    whole = isinstance(loader.dataset, IterableDataset)
    if not whole and not isinstance(loader.sampler, SequentialSampler | RandomSampler):
        raise DataError(
            f"{origin} is a DataLoader with a {type(loader.sampler).__name__}, which fit does not use: it makes batches itself. "
            "Give the data set; rare classes count more with task={'kind': ..., 'class_weights': 'balanced'}."
        )
    return loader.dataset


class _Items(Sequence[Any]):
    """The values of a data set, each read when it is asked for."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        return _values(self._dataset[int(index)])


def _values(item: Any) -> np.ndarray:
    if isinstance(item, Mapping):
        raise DataError(
            f"an item of the data set is a dictionary with {sorted(map(str, item))}; expected (values, target) or values. "
            "Return such a pair from __getitem__."
        )
    values = np.asarray(item[0] if isinstance(item, tuple | list) else item)
    return values[:, None] if values.ndim == 1 and values.dtype.kind == "f" else values


def _of_dataset(dataset: Dataset[Any], options: dict[str, Any]) -> SequenceSet:
    """Sequences of a data set of ``(values, target)`` or of values; read once to check them, then one by one."""
    items = list(dataset) if isinstance(dataset, IterableDataset) else _each(dataset)
    values, targets = [], []
    for item in items:
        values.append(_values(item))
        if isinstance(item, tuple | list) and len(item) > 1:
            targets.append(np.asarray(item[1]))
    checked = sequence_set(values, targets or None, **options)
    if isinstance(dataset, IterableDataset) or checked.input != "numbers":
        return checked
    return replace(checked, values=_Items(dataset))


def _each(dataset: Any) -> Iterator[Any]:
    for index in range(len(dataset)):
        yield dataset[index]


def _padded(parts: list[torch.Tensor]) -> torch.Tensor:
    """Batches of answers one after the other; those of fewer steps are filled up with zeros."""
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    rows = [row for part in parts for row in part]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)
