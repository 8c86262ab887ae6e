"""Search hyper-parameters of a recipe by validation score; resumable, on several processes."""

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from ulmus.arguments import MOST_WORKERS
from ulmus.errors import ConfigError, DivergedError, UlmusError, closest, extra
from ulmus.evaluation.sequence_metrics import UPWARDS
from ulmus.files.reading import read_json, read_yaml
from ulmus.files.writing import write_json, write_text
from ulmus.neuron import load
from ulmus.settings import Settings, validated
from ulmus.training.callbacks import TrainingProgress
from ulmus.training.fit import fit
from ulmus.training.recipe import Recipe
from ulmus.training.recipe_file import all_keys, load_recipe
from ulmus.training.run import Run

if TYPE_CHECKING:
    from optuna import Study as Trials
    from optuna.trial import Trial

_UPWARDS = ("auc", *UPWARDS)
_HEARTBEAT_S = 10
"""How often a run says that it is alive; one that was silent for three times as long was killed, and is queued again."""
_FIXED_KEYS = (
    "data.train", "data.validation", "data.folder", "data.kind", "data.task", "data.targets", "data.split_seed", "task.kind",
    "training.select",
)  # fmt: skip
"""Keys that decide what a score means: with other data, scores could not be compared."""


class Range(Settings):
    """Numbers between two ends; whole numbers when both ends are."""

    low: int | float
    high: int | float
    log: bool = False
    """Equal ratios rather than equal differences."""
    step: int | float | None = None

    @model_validator(mode="after")
    def _ascending(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low={self.low}, high={self.high}: expected low below high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log goes with a positive low and without a step")
        return self


class Search(Settings):
    """What is searched, in a YAML file."""

    name: str
    """What the search is called in messages."""
    recipe: str
    """Shipped recipe or file."""
    model: str | None = None
    """Which of the recipe's models."""
    score: str = "loss"
    """Validation score that decides: loss; auc or rmse_mv of trials; accuracy of classes; what else the task has."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Keys of the recipe, the same for all runs."""
    search: dict[str, Range | list[Any]] = Field(min_length=1)
    """Keys of the recipe, each with its range or its choices."""
    held_out: tuple[str, ...] = ()
    """Test data: the sweep makes sure that no run learns from them or is chosen by them."""
    runs: PositiveInt = 30
    """Runs in all."""
    seed: int = 0
    """Decides which values are tried; every run trains with the seed of the recipe."""

    @model_validator(mode="after")
    def _keys_exist(self) -> "Search":
        for key in (*self.set, *self.search):
            if key not in all_keys():
                raise ValueError(f"{key!r} is no key of a recipe.{closest(key, all_keys())}")
        for key in self.search:
            if key in _FIXED_KEYS:
                raise ValueError(
                    f"{key!r} decides what a score means and cannot be searched; put it under 'set'"
                )
        return self

    @property
    def direction(self) -> str:
        """Whether more of the score is better."""
        return "maximize" if self.score in _UPWARDS else "minimize"


class SweepRun(NamedTuple):
    """One run of a sweep."""

    run: str
    score: float
    values: dict[str, Any]


def load_search(path: str | Path) -> Search:
    """A search from a YAML file.

    Raises:
        ConfigError: it cannot be read or used.
    """
    values = read_yaml(Path(path), "'recipe' and 'search'")
    return validated(Search, values, str(path), "set it in the file")


def sweep(
    search: Search,
    folder: Path,
    overrides: Mapping[str, Any],
    workers: int = 1,
    on_run: Callable[[int, int, float | None], None] = lambda done, total, score: None,
) -> list[SweepRun]:
    """Run a sweep or resume it; writes ``sweep.json`` and the recipe of the best run, ``best.yaml``.

    What was tried is recorded in ``sweep.db`` (Optuna, TPE); every run has a run folder, from which it resumes when interrupted.
    Runs that are clearly behind at the same step are stopped (median rule).

    Args:
        search: What to search.
        folder: Of the sweep.
        overrides: Further keys of the recipe, the same for all runs.
        workers: Processes that train at the same time.
        on_run: Called after every run with how many are done, how many there will be, and the run's score.

    Raises:
        ConfigError: the search does not fit the recipe, or is not the one the folder was begun with.
        MissingToolError: Optuna is not installed.
    """
    settings = {**search.set, **overrides}
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError(f"workers={workers}: expected 1 to {MOST_WORKERS} processes. Correct it.")
    _recipe(search, settings, {}).check_apart(search.held_out)
    folder.mkdir(parents=True, exist_ok=True)
    _check_same(folder, search, settings)
    remaining = search.runs - len(_ended(_open(search, folder, 0)))
    shares = [remaining // workers + (number < remaining % workers) for number in range(workers)]
    if workers == 1:
        _work(search, folder, settings, shares[0], 0, on_run)
    elif remaining > 0:
        import joblib

        tasks = (
            joblib.delayed(_work)(search, folder, settings, share, number)
            for number, share in enumerate(shares)
        )
        joblib.Parallel(n_jobs=workers)(tasks)
    return _write(search, folder, settings, _open(search, folder, 0))


def _optuna() -> Any:
    with extra("search", "a sweep"):
        import optuna
    optuna.logging.set_verbosity(logging.ERROR)  # of a run that failed it would print a traceback
    return optuna


def _open(search: Search, folder: Path, worker: int) -> "Trials":
    optuna = _optuna()
    with warnings.catch_warnings():  # the heartbeat is called experimental since 2021
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{(folder / 'sweep.db').resolve()}",
            heartbeat_interval=_HEARTBEAT_S,
            grace_period=3 * _HEARTBEAT_S,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
        )
    trials: Trials = optuna.create_study(
        study_name=search.name,
        storage=storage,
        direction=search.direction,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        load_if_exists=True,
    )
    # A sampler does not know what it drew before an interruption: with the same seed it would draw it again.
    seed = np.random.SeedSequence((search.seed, worker, len(trials.trials))).generate_state(1)
    trials.sampler = optuna.samplers.TPESampler(seed=int(seed[0]), constant_liar=True)
    return trials


def _ended(trials: "Trials") -> list[Any]:
    """Runs that need not be run again: trained, stopped for being behind, or failed for a reason."""
    return [
        trial
        for trial in trials.trials
        if trial.state.name in ("COMPLETE", "PRUNED") or "why" in trial.user_attrs
    ]


def _work(
    search: Search,
    folder: Path,
    settings: Mapping[str, Any],
    runs: int,
    worker: int,
    on_run: Callable[[int, int, float | None], None] = lambda done, total, score: None,
) -> None:
    """Train this many runs. Those of a process that was killed come first: Optuna notices that their heartbeat has stopped."""
    optuna = _optuna()

    def train(trial: "Trial") -> float:
        values = {key: _suggest(trial, key, choices) for key, choices in search.search.items()}
        name = trial.user_attrs.get("run", f"run-{trial.number:04d}")
        trial.set_user_attr("run", name)
        try:
            score, whole = _train(trial, search, _recipe(search, settings, values), folder / name)
        except (ConfigError, DivergedError) as error:
            trial.set_user_attr("why", str(error))
            raise
        if not whole:
            raise optuna.TrialPruned
        return score

    def report(trials: "Trials", trial: Any) -> None:
        on_run(len(_ended(trials)), search.runs, trial.value if trial.state.name != "FAIL" else None)

    def requeue(trials: "Trials") -> None:
        """Runs that an interrupt has failed, for a later command to go on with."""
        again = {trial.system_attrs.get("failed_trial") for trial in trials.trials}
        for trial in trials.get_trials(states=(optuna.trial.TrialState.FAIL,)):
            if "why" not in trial.user_attrs and trial.number not in again:
                optuna.storages.RetryHeartbeatStaleTrialCallback()(trials, trial)

    trials = _open(search, folder, worker)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            if runs > 0:
                trials.optimize(train, n_trials=runs, catch=(ConfigError, DivergedError), callbacks=[report])
        except KeyboardInterrupt:
            requeue(trials)
            raise


def _suggest(trial: "Trial", key: str, choices: Range | list[Any]) -> Any:
    if isinstance(choices, list):
        # Optuna keeps choices that are numbers, texts or None; others by their place.
        return choices[trial.suggest_categorical(key, list(range(len(choices))))]
    if isinstance(choices.low, int) and isinstance(choices.high, int):
        return trial.suggest_int(key, choices.low, choices.high, step=int(choices.step or 1), log=choices.log)
    return trial.suggest_float(key, choices.low, choices.high, step=choices.step, log=choices.log)


def _train(trial: "Trial", search: Search, recipe: Recipe, folder: Path) -> tuple[float, bool]:
    """Score of the run on its validation data, and whether it was trained to its end."""
    run, behind = Run(folder), False

    def watch(now: TrainingProgress) -> None:
        nonlocal behind
        lines = run.metrics()
        if lines and "validation" in lines[-1] and lines[-1]["step"] < now.steps:
            trial.report(lines[-1]["validation"][search.score] or 0.0, lines[-1]["step"])
            behind = trial.should_prune()

    begun = run.exists()
    if not (begun and run.finished()):
        fit(run.recipe() if begun else recipe, folder, resume=begun, on_progress=watch, stop=lambda: behind)
    return float(load(folder).card["validation"][search.score] or 0.0), run.finished()


def _recipe(search: Search, settings: Mapping[str, Any], values: Mapping[str, Any]) -> Recipe:
    recipe = load_recipe(search.recipe, {**settings, **values}, search.model)
    if search.score not in recipe.validated():
        raise ConfigError(
            f"score {search.score!r} is not among those that this recipe validates; expected one of {list(recipe.validated())}."
        )
    return recipe.with_training(select=search.score)


def _check_same(folder: Path, search: Search, settings: Mapping[str, Any]) -> None:
    """Whether the folder is empty or holds this sweep; the number of runs may have changed."""
    file = folder / "search.json"
    now = search.model_dump(mode="json", exclude={"runs"})
    now |= {"set": json.loads(json.dumps(dict(settings)))}
    if file.is_file():
        before = read_json(file)
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            raise ConfigError(
                f"{folder} was begun with another search ({', '.join(changed)} differs); continue with the same one, or give "
                "another --out."
            )
    write_json(file, now)


def _write(search: Search, folder: Path, settings: Mapping[str, Any], trials: "Trials") -> list[SweepRun]:
    """Completed runs, the best first."""
    ended = _ended(trials)
    complete = [trial for trial in ended if trial.state.name == "COMPLETE"]
    if not complete:
        reasons = (trial.user_attrs["why"] for trial in ended if "why" in trial.user_attrs)
        raise UlmusError(f"no run of the sweep came to an end: {next(reasons, 'none was trained')}")
    found = [
        SweepRun(trial.user_attrs["run"], float(trial.value), _values(search, trial.params))
        for trial in complete
    ]
    found.sort(key=lambda one: one.score, reverse=search.direction == "maximize")
    stopped = [
        {"run": of["run"], "values": _values(search, params), "why": of.get("why", "behind")}
        for of, params in ((trial.user_attrs, trial.params) for trial in ended if trial not in complete)
    ]
    runs = [one._asdict() for one in found]
    result = {"score": search.score, "data": "validation", "runs": runs, "stopped": stopped}
    write_json(folder / "sweep.json", result)
    write_text(folder / "best.yaml", _recipe(search, settings, found[0].values).to_yaml())
    return found


def _values(search: Search, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the searched keys, choices by their place replaced by themselves."""
    spaces = search.search
    return {
        key: choices[value] if isinstance(choices := spaces[key], list) else value
        for key, value in params.items()
    }
