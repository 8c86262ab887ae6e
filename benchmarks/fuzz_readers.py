"""Readers of trials, recordings, neurons, runs and settings, each with a small good file of its kind: what `fuzz.py` damages.

A new reader is one function: it makes its files in an empty folder and returns which of them to damage and how to read them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "examples"))

import neuronio_examples
import recording_examples
import trial_examples

Read = Callable[[], object]
Made = tuple[Path, Read]
TRIALS = {"data.train": "trials", "data.validation": "more"}
READERS: dict[str, Callable[[Path], Made]] = {}
"""By name: given an empty folder, the file to damage, and what reads it."""


def reader(make: Callable[[Path], Made]) -> Callable[[Path], Made]:
    """Note a reader under the name of the function that makes its file."""
    READERS[make.__name__] = make
    return make


def readers(**files: str) -> Callable[[Callable[[Path], Read]], Callable[[Path], Read]]:
    """Note a reader of several files, of which each is damaged: their places in the folder by what is added to the name."""

    def note(make: Callable[[Path], Read]) -> Callable[[Path], Read]:
        for name, place in files.items():
            READERS[f"{make.__name__}_{name}"] = lambda folder, place=place: _found(
                folder, place, make(folder)
            )
        return make

    return note


def _found(folder: Path, place: str, read: Read) -> Made:
    return sorted(folder.glob(place))[0], read


def _mapped(layout: Callable[[Path], Any], folder: Path) -> Made:
    from ulmus.recordings.recording import check_files

    files, mapping = layout(folder)
    damaged = files[0] if files[0].is_file() else sorted(files[0].glob("*.csv"))[0]
    return damaged, lambda: check_files(
        [(file, slice(None)) for file in files], mapping, lambda done, total: None
    )


for _layout in recording_examples.LAYOUTS:

    def _make(folder: Path, layout: Callable[[Path], Any] = _layout) -> Made:
        return _mapped(layout, folder)

    READERS[f"mapped_{_layout.__name__}"] = _make


@reader
def inspect_hdf5(folder: Path) -> Made:
    """All keys of a file, each read."""
    from ulmus.files.containers import open_container

    files, _ = recording_examples.hdf5_rows(folder)

    def read() -> None:
        found = open_container(files[0])
        for key in found.entries:
            found.read(key)

    return files[0], read


@reader
def mapping_yaml(folder: Path) -> Made:
    """A mapping."""
    import yaml

    from ulmus.recordings.mapping import load_mapping

    _, mapping = recording_examples.hdf5_rows(folder)
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump(mapping.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    return path, lambda: load_mapping(path)


@reader
def recipe_yaml(folder: Path) -> Made:
    """A recipe with all of its keys."""
    from ulmus.training.recipe_file import load_recipe

    path = folder / "recipe.yaml"
    path.write_text(load_recipe("l5pc-branch-20", TRIALS).to_yaml(), encoding="utf-8")
    return path, lambda: load_recipe(path)


@reader
def recipe_of_arrays_yaml(folder: Path) -> Made:
    """A recipe for sequences of a user."""
    from ulmus.training.recipe_file import load_recipe, parse_recipe

    path = folder / "recipe.yaml"
    data = {"kind": "arrays", "train": "a.npz", "window": 9}
    recipe = {"name": "a", "task": {"kind": "classification"}, "model": {"kind": "lstm"}, "data": data}
    recipe |= {"training": {"steps": 5, "batch": 2}}
    path.write_text(parse_recipe(recipe, "recipe").to_yaml(), encoding="utf-8")
    return path, lambda: load_recipe(path)


@reader
def study_yaml(folder: Path) -> Made:
    """A study, and the runs that it asks for."""
    from ulmus.studies.study import load_study, members

    path = folder / "study.yaml"
    path.write_text(
        "name: a\ntitle: A\ngrids:\n  size:\n    title: A\n    recipes: [shd-lstm]\n    models: [elm, lstm]\n"
        "    key: training.batch\n    values: [3, 5]\n",
        encoding="utf-8",
    )
    return path, lambda: list(members(load_study(path), "full", 2))


@reader
def search_yaml(folder: Path) -> Made:
    """A search for hyper-parameters."""
    from ulmus.studies.sweep import load_search

    path = folder / "search.yaml"
    search = (
        "search:\n  training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}\n  model.memory: [5, 10]\n"
    )
    path.write_text(f"name: a\nrecipe: l5pc-branch-20\nruns: 3\nseed: 1\n{search}", encoding="utf-8")
    return path, lambda: load_search(path)


@reader
def neuronio_pickle(folder: Path) -> Made:
    """A published file of NeuronIO."""
    from ulmus.trials.neuronio import NeuronIOFile

    path = neuronio_examples.write(folder, neuronio_examples.content())

    def read() -> None:
        file = NeuronIOFile(path, nexus=True)
        for index in range(len(file)):
            file.trial(index)

    return path, read


@reader
def neuronio_pickle_protocol_5(folder: Path) -> Made:
    """The same as Python 3.14 writes it, compressed."""
    from ulmus.trials.neuronio import NeuronIOFile

    path = neuronio_examples.write(folder, neuronio_examples.content(1), "sim__test.p.gz", protocol=5)
    return path, lambda: NeuronIOFile(path).trial(0)


def _store(folder: Path) -> Read:
    from ulmus.errors import DataError
    from ulmus.trials import Store

    trial_examples.write_store(folder / "store", trials=6, shard_trials=3)

    def read() -> None:
        store = Store(folder / "store")
        store.info()
        problems = store.verify()
        for index in range(len(store)):
            try:
                store.trial(index)
            except DataError as error:
                if not problems:
                    raise AssertionError(f"verify found nothing, and reading: {error}") from error

    return read


@reader
def store_shard(folder: Path) -> Made:
    """A shard of a store, verified and read."""
    read = _store(folder)
    return sorted((folder / "store").glob("*.h5"))[0], read


@reader
def store_index(folder: Path) -> Made:
    """The index of a store."""
    return folder / "store" / "store.json", _store(folder)


@reader
def saved_neuron(folder: Path) -> Made:
    """A file of ulmus.save."""
    import ulmus

    path = ulmus.save(ulmus.Surrogate(ulmus.ELM(12, 2, memory=5)), folder / "a.safetensors")
    return path, lambda: ulmus.load(path)


@reader
def saved_classifier(folder: Path) -> Made:
    """A classifier with a model of PyTorch."""
    import ulmus

    model = ulmus.Classifier(ulmus.baselines.LSTM(12, 3, memory=4), ("a", "b", "c"))
    path = ulmus.save(model, folder / "a.safetensors")
    return path, lambda: ulmus.load(path)


@reader
def explored_neuron(folder: Path) -> Made:
    """A neuron with its geometry, read to make a page and a program of it."""
    import ulmus
    from ulmus.export import write_explorer

    path = ulmus.save(_surrogate(), folder / "a.safetensors")

    def read() -> None:
        surrogate = ulmus.load(path)
        write_explorer(surrogate, folder / "page.html")
        ulmus.export(surrogate, folder / "neuron.c")

    return path, read


def _surrogate() -> Any:
    """A neuron with a place for each of its inputs."""
    import ulmus
    from ulmus.geometry import Geometry

    pieces = 3
    ends = np.arange(3.0 * pieces).reshape(pieces, 3)
    place = np.arange(12) % (pieces + 1) - 1
    neuron = ulmus.ELM(12, 2, memory=5, branches=3, synapses_per_branch=4)
    return ulmus.Surrogate(
        neuron, geometry=Geometry(ends, ends + 5, np.ones(pieces), place, np.zeros(3), 9.0)
    )


@reader
def population_state(folder: Path) -> Made:
    """What a population was, and how it goes on."""
    import ulmus
    from ulmus.populations import Cells, FixedProbability

    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3))
    path = folder / "state.npz"

    def built() -> Any:
        net = ulmus.Population([Cells(surrogate, 6)], seed=1)
        net.connect("cells", "cells", FixedProbability(0.5), delay_ms=3.0)
        net.poisson("cells", rate_hz=50.0)
        return net

    net = built()
    net.run(5.0)
    net.save(path)

    def read() -> None:
        net = built()
        net.resume(path)
        net.run(5.0)

    return path, read


def _official(folder: Path) -> Read:
    import shutil

    import ulmus

    golden = Path(__file__).resolve().parent.parent / "tests" / "golden" / "official" / "checkpoints"
    source = sorted(golden.iterdir())[0]
    shutil.copytree(source, folder / "official", copy_function=shutil.copyfile)
    return lambda: ulmus.import_official(folder / "official")


@reader
def official_settings(folder: Path) -> Made:
    """model_config.json of the authors."""
    return folder / "official" / "model_config.json", _official(folder)


@reader
def official_weights(folder: Path) -> Made:
    """Weights of the authors."""
    read = _official(folder)
    return next((folder / "official").glob("*.pt")), read


SWC = (
    "1 1 0 0 0 8 -1\n2 3 9 0 0 1 1\n3 3 40 0 0 1 2\n4 3 60 5 0 0.5 3\n5 3 60 -5 0 0.5 3\n"
    "6 4 0 9 0 1 1\n7 4 0 80 0 1 6\n8 2 0 -9 0 0.5 1\n"
)


@reader
def morphology_swc(folder: Path) -> Made:
    """A reconstruction in SWC."""
    from ulmus.teachers.morphology_files import load_morphology

    path = folder / "cell.swc"
    path.write_text("# a cell\n" + SWC, encoding="utf-8")
    return path, lambda: load_morphology(path)


@reader
def morphology_asc(folder: Path) -> Made:
    """A reconstruction of Neurolucida."""
    from ulmus.teachers.morphology_files import load_morphology

    path = folder / "cell.asc"
    outline = "\n".join(f"({x} {y} 0 0.1)" for x, y in ((0, 9), (9, 0), (0, -9), (-9, 0)))
    tree = "((Dendrite)\n(9 0 0 2)\n(30 0 0 2)\n(\n(40 5 0 1)\n(60 5 0 1)\n|\n(40 -5 0 1)\n(60 -5 0 1)\n))"
    path.write_text(
        f'("Soma" (CellBody)\n{outline})\n{tree}\n{tree.replace("Dendrite", "Apical")}\n', encoding="utf-8"
    )
    return path, lambda: load_morphology(path)


@reader
def spike_table_csv(folder: Path) -> Made:
    """A table of input spikes as text."""
    from ulmus.teachers.spike_trains import SpikeTrains

    path = folder / "spikes.csv"
    path.write_text(
        "input,time_ms,trial\n" + "".join(f"{k % 4},{k},{k // 10}\n" for k in range(20)), encoding="utf-8"
    )
    return path, lambda: SpikeTrains.load(path)


@reader
def spike_table(folder: Path) -> Made:
    """A table of input spikes."""
    from ulmus.teachers.spike_trains import SpikeTrains

    path = folder / "spikes.npz"
    np.savez(path, input=np.arange(20) % 4, time_ms=np.arange(20.0), trial=np.arange(20) // 10)
    return path, lambda: SpikeTrains.load(path)
