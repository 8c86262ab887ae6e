"""The run folder: what a training run leaves behind, and what it needs to go on after an interruption."""

import io
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ulmus.errors import CheckpointError
from ulmus.files.reading import json_lines, read_json, read_text
from ulmus.files.torch_file import read_torch
from ulmus.files.writing import append_json, remove_leftovers, write_file, write_json, write_text
from ulmus.neuron import Classifier, Surrogate, save
from ulmus.neuron.files import RUN_CHECKPOINT
from ulmus.settings import parse_yaml
from ulmus.training.recipe import PLACE_KEYS, Recipe
from ulmus.training.recipe_file import parse_recipe

_VERSIONS = ["ulmus", "torch", "numpy", "numba", "lightning-fabric", "h5py", "scikit-learn", "arbor"]

_SLICE = re.compile(r"\[[^\[\]]*:[^\[\]]*\]$")
_STATE_KEYS = {"model", "averaged", "optimizer", "position"}


class Run:
    """A run folder.

    ::

        recipe.yaml         every key, defaults filled in; itself a valid recipe
        provenance.json     versions, machine, data with hashes, command, backend
        metrics.jsonl       one line per logged step and per validation
        checkpoints/        best.safetensors (a neuron for ulmus.load); state.pt for going on, and the one before it
        evaluation/         scores per protocol
        report.html
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def provenance_file(self) -> Path:
        """Versions, machine and data."""
        return self.folder / "provenance.json"

    @property
    def metrics_file(self) -> Path:
        """Logged metrics, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def best_file(self) -> Path:
        """The neuron with the best validation score so far."""
        return self.folder / RUN_CHECKPOINT

    @property
    def state_file(self) -> Path:
        """Everything needed to go on."""
        return self.folder / "checkpoints" / "state.pt"

    @property
    def state_before_file(self) -> Path:
        """The checkpoint before the last one."""
        return self.folder / "checkpoints" / "state-before.pt"

    @property
    def report_file(self) -> Path:
        """The report page."""
        return self.folder / "report.html"

    def evaluation_file(self, protocol: str) -> Path:
        """Scores under one protocol."""
        return self.folder / "evaluation" / f"{protocol}.json"

    def exists(self) -> bool:
        """Whether a run was started in this folder."""
        return self.recipe_file.is_file()

    def remove_if_empty(self) -> None:
        """Leave no folder behind in which nothing came to be."""
        with suppress(OSError):
            self.folder.rmdir()

    def finished(self) -> bool:
        """Whether every step of the recipe was done, or training stopped early."""
        last = self.provenance()["sessions"][-1]
        ended = last.get("step") == self.recipe().steps or last.get("stopped_early", False)
        return bool(ended) and "diverged" not in last

    def cpu_seconds(self) -> float:
        """CPU time of training, in all sessions."""
        return float(sum(session.get("cpu_seconds", 0.0) for session in self.provenance()["sessions"]))

    def diverged(self) -> str | None:
        """Where the run diverged when it last went on; None when it did not."""
        found: str | None = self.provenance()["sessions"][-1].get("diverged")
        return found

    def begin(self, recipe: Recipe, data: dict[str, Any], backend: str, resume: bool) -> None:
        """Write what is known before the first step of this process; data of a resumed run may lie elsewhere than before."""
        if not resume:
            write_text(self.metrics_file, "")
        self.write_provenance(data, backend)
        write_text(self.recipe_file, recipe.to_yaml())  # the last: a folder with a recipe is a whole run

    def write_provenance(self, data: dict[str, Any], backend: str) -> None:
        """Add this process to the sessions of the run; data hashes must not have changed since the first one.

        Raises:
            CheckpointError: the data are not those the run began with.
        """
        provenance: dict[str, Any] = {"data": data, "sessions": []}
        if self.provenance_file.is_file():
            provenance = self.provenance()
            if provenance["data"] != data:
                before = provenance["data"]
                changed = [key for key in {**before, **data} if before.get(key) != data.get(key)]
                raise CheckpointError(
                    f"{self.folder} was begun with other data: {', '.join(changed)} has changed since. An interrupted run "
                    "goes on only with the same data; restore them, or start a new run in another folder."
                )
        provenance["sessions"].append(_session(backend))
        write_json(self.provenance_file, provenance)

    def note_session(self, **values: Any) -> None:
        """Record how far this process got, and what it cost."""
        provenance = self.provenance()
        provenance["sessions"][-1] |= values
        write_json(self.provenance_file, provenance)

    def recipe(self) -> Recipe:
        """The recipe the run was started with; relative places of its data are those from where it was started.

        Raises:
            CheckpointError: there is no run in this folder.
        """
        if not self.exists():
            raise CheckpointError(
                f"{self.folder} is not a run folder (no recipe.yaml); give one made by ulmus train."
            )
        origin = str(self.recipe_file)
        values = parse_yaml(self._text(self.recipe_file), origin, "'name', 'model' and 'data'")
        return parse_recipe(self._with_places(values), origin)

    def _with_places(self, values: dict[str, Any]) -> dict[str, Any]:
        try:
            started_in = self.provenance()["sessions"][-1].get("folder")
        except CheckpointError:  # said by whatever needs it
            return values
        for key in (*PLACE_KEYS, "start_from"):
            section, _, name = key.rpartition(".")
            inner = values.get(section) if section else values
            if not isinstance(inner, dict):
                continue
            if isinstance(inner.get(name), str):
                inner[name] = place_from(inner[name], started_in)
            elif isinstance(inner.get(name), list):
                inner[name] = [
                    place_from(each, started_in) if isinstance(each, str) else each for each in inner[name]
                ]
        return values

    def provenance(self) -> dict[str, Any]:
        """Versions, machine and data of the run."""
        values = read_json(self.provenance_file, CheckpointError)
        sessions = values.get("sessions")
        good = isinstance(sessions, list) and sessions and all(isinstance(one, dict) for one in sessions)
        if not isinstance(values.get("data"), dict) or not good:
            raise CheckpointError(
                f"{self.provenance_file} lacks 'data' (what the run learnt from) or 'sessions'; restore it from a copy."
            )
        return values

    def _text(self, file: Path) -> str:
        return read_text(file, CheckpointError, "restore the run folder from a copy, or start the run again")

    def log(self, values: dict[str, Any]) -> None:
        """Append one line of metrics."""
        append_json(self.metrics_file, values)

    def metrics(self) -> list[dict[str, Any]]:
        """All logged metrics; a line cut off by a crash is left out.

        Raises:
            CheckpointError: the file is missing, or a line says no step.
        """
        lines = list(json_lines(self._text(self.metrics_file)))
        for number, line in enumerate(lines, start=1):
            if not isinstance(line.get("step"), int) or not isinstance(line.get("validation", {}), dict):
                raise CheckpointError(
                    f"{self.metrics_file}, line {number} says no step, or validation scores that are none; restore the file from "
                    "a copy"
                )
        return lines

    def evaluation(self, protocol: str) -> dict[str, Any]:
        """Scores under one protocol.

        Raises:
            CheckpointError: there are none, or the file is damaged.
        """
        return read_json(self.evaluation_file(protocol), CheckpointError, "evaluate the run again")

    def keep_metrics_until(self, step: int) -> None:
        """Drop metrics later than a checkpoint, which will be logged again."""
        kept = [json.dumps(values) + "\n" for values in self.metrics() if values["step"] <= step]
        write_text(self.metrics_file, "".join(kept))

    def save_best(self, model: Surrogate | Classifier) -> None:
        """Replace the best model."""
        save(model, self.best_file)

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the state to go on from, once the new one is whole on disk; the one before it is kept."""
        content = io.BytesIO()
        torch.save(state, content)  # to a file of its own, torch would fail on a full disk without saying so
        if self.state_file.is_file():
            write_file(self.state_before_file, lambda made: _link_or_copy(self.state_file, made))
        write_file(self.state_file, lambda made: made.write_bytes(content.getbuffer()))
        remove_leftovers(self.state_file.parent)

    def load_state(self) -> dict[str, Any] | None:
        """The last state to go on from that is whole; None when the run stopped before its first checkpoint.

        Raises:
            CheckpointError: there were checkpoints, and none is whole any more.
        """
        return self.resumable().state

    def resumable(self, restore: Callable[[dict[str, Any]], object] = lambda state: None) -> "Resumable":
        """The last state to go on from that is whole and can be restored, and what a user must know of it.

        Args:
            restore: Called with a state; raises what it likes where it is not one of this run.

        Raises:
            CheckpointError: there were checkpoints, and none is whole any more.
        """
        wrong: list[str] = []
        for file in (self.state_file, self.state_before_file):
            try:
                state = _read_state(file)
                if state is None:
                    continue
                restore(state)
            except CheckpointError as error:
                wrong.append(str(error))
                continue
            except (
                Exception
            ) as error:  # keys, shapes, types: whatever reads a value finds wrong with another one
                wrong.append(f"{file} does not fit the run ({type(error).__name__})")
                continue
            note = ""
            if file != self.state_file:
                why = "; ".join(wrong) or f"{self.state_file} is missing"
                note = f"{why}. Going on from the state before it, step {state['position']['step']}."
            return Resumable(state, note)
        saved = max((session.get("step", 0) for session in self.provenance()["sessions"]), default=0)
        if wrong or saved:
            why = "; ".join(wrong) or f"{self.state_file}, saved after step {saved}, is missing"
            raise CheckpointError(
                f"{why}, and there is no other state to go on from. Restore one from a copy, or start the run again in another "
                f"folder; its best model so far is {self.best_file}."
            )
        return Resumable(
            None, f"{self.folder} was interrupted before its first checkpoint; it begins again at step 0."
        )


def place_from(place: str, folder: str | None) -> str:
    """A place that was named in another working folder (with a pattern and slice, perhaps), as it is called from here.

    Where nothing is there any more, as after both were moved, it is what it was called.
    """
    if folder is None or Path(folder) == Path.cwd() or Path(place).expanduser().is_absolute():
        return place
    there = str(Path(folder) / place)
    return there if glob(_SLICE.sub("", there)) else place  # noqa: PTH207 - of a path that may hold a pattern


class Resumable(NamedTuple):
    """A state to go on from, and what a user must know of it."""

    state: dict[str, Any] | None
    note: str


def _link_or_copy(file: Path, made: Path) -> None:
    try:
        os.link(file, made)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, made)


def _read_state(file: Path) -> dict[str, Any] | None:
    """What is in the file; None when there is none."""
    if not file.is_file():
        return None
    state = read_torch(file, "restore it from a copy")
    if not isinstance(state, dict) or not state.keys() >= _STATE_KEYS or not _is_position(state["position"]):
        raise CheckpointError(f"{file} is not the state of a training run")
    return state


def _is_position(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("step"), int)


def _session(backend: str) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in _VERSIONS:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "backend": backend,
        "versions": versions,
    }
