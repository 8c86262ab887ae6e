"""Every reader of files from strangers, with a small good file of its kind: what `fuzz.py` damages.

A new reader is one function here: it makes its file in an empty folder and returns which file to damage and how to read it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "examples"))

import digits_examples
import neuronio_examples
import recording_examples
import trial_examples

Read = Callable[[], object]
Made = tuple[Path, Read]
_DATA = {"data.train": "trials", "data.validation": "more"}
READERS: dict[str, Callable[[Path], Made]] = {}
"""By name: given an empty folder, the file to damage, and what reads it."""


def reader(make: Callable[[Path], Made]) -> Callable[[Path], Made]:
    """Note a reader under the name of the function that makes its file."""
    READERS[make.__name__] = make
    return make


def _mapped(layout: Callable[[Path], Any], folder: Path) -> Made:
    from ulmus.recordings.recording import check_files

    files, mapping = layout(folder)
    damaged = files[0] if files[0].is_file() else sorted(files[0].glob("*.csv"))[0]
    return damaged, lambda: check_files(
        [(file, slice(None)) for file in files], mapping, lambda done, total: None
    )


for _layout in (
    recording_examples.hdf5_rows,
    recording_examples.hdf5_groups,
    recording_examples.hdf5_ragged,
    recording_examples.npz_cut,
    recording_examples.csv_folders,
):

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
    path.write_text(load_recipe("l5pc-branch-20", _DATA).to_yaml(), encoding="utf-8")
    return path, lambda: load_recipe(path)


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


def _run(folder: Path) -> Any:
    import torch

    from ulmus.training.recipe_file import load_recipe
    from ulmus.training.run import Run

    run = Run(folder / "run")
    run.begin(load_recipe("l5pc-branch-20", _DATA), {"train": "0" * 64}, "cpu", resume=False)
    for step in range(3):
        run.log({"step": step, "loss": 0.5, "validation": {"auc": 0.9}})
    run.save_state(
        {"model": {"v": torch.ones(3)}, "averaged": {}, "optimizer": {}, "position": {"step": 2}, "format": 1}
    )
    run.evaluation_file("stream").parent.mkdir()
    run.evaluation_file("stream").write_text(json.dumps({"auc": 0.9, "data": ["a"]}), encoding="utf-8")
    return run


def _run_reader(name: str, chosen: Callable[[Any], Path], read: Callable[[Any], object]) -> None:
    def make(folder: Path) -> Made:
        run = _run(folder)
        return chosen(run), lambda: read(run)

    READERS[name] = make


_run_reader("run_recipe", lambda run: run.recipe_file, lambda run: run.recipe())
_run_reader("run_provenance", lambda run: run.provenance_file, lambda run: run.finished())
_run_reader("run_metrics", lambda run: run.metrics_file, lambda run: run.keep_metrics_until(1))
_run_reader("run_state", lambda run: run.state_file, lambda run: run.load_state())
_run_reader("run_evaluation", lambda run: run.evaluation_file("stream"), lambda run: run.evaluation("stream"))


@reader
def spoken_digits(folder: Path) -> Made:
    """A file in the layout of the Spiking Heidelberg Digits."""
    from ulmus.sequences.digits.shd import SpikeFile

    path = digits_examples.write_digits(folder / "shd_train.h5")

    def read() -> None:
        file = SpikeFile(path)
        for index in range(len(file)):
            file.spikes(index)

    return path, read


@reader
def wav(folder: Path) -> Made:
    """A recording."""
    from ulmus.sequences.digits.cochlea.wav import read_wav

    path = digits_examples.write_wav(folder / "0_ann_0.wav", np.sin(np.arange(2000) / 9))
    return path, lambda: read_wav(path)


@reader
def listops(folder: Path) -> Made:
    """A file of ListOps."""
    from ulmus.sequences.lra.listops.files import FILES, FOLDER, listops_splits

    place = folder / FOLDER
    place.mkdir()
    for name in FILES:
        (place / name).write_text("Source\tTarget\n( ( [MAX 3 ) 4 ) ]\t4\n[MIN 2 9 ]\t2\n", encoding="utf-8")

    def read() -> None:
        for split in listops_splits(folder):
            for index in range(len(split)):
                split[index]

    return place / FILES[0], read


@reader
def cifar(folder: Path) -> Made:
    """A pickle of CIFAR-10."""
    import pickle

    from ulmus.sequences.lra.images import cifar_splits

    place = folder
    pixels = np.arange(20 * 3072, dtype=np.uint8).reshape(20, 3072)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        content = {"data": pixels, "labels": [k % 10 for k in range(20)]}
        (place / name).write_bytes(pickle.dumps(content, 2))
    return place / "data_batch_1", lambda: cifar_splits(folder)


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
def spike_table(folder: Path) -> Made:
    """A table of input spikes."""
    from ulmus.teachers.spike_trains import SpikeTrains

    path = folder / "spikes.npz"
    np.savez(path, input=np.arange(20) % 4, time_ms=np.arange(20.0), trial=np.arange(20) // 10)
    return path, lambda: SpikeTrains.load(path)


def good(folder: Path) -> Iterator[tuple[str, Path, Read]]:
    """Every reader with its good file, each in a folder of its own."""
    for name, make in READERS.items():
        place = folder / name
        place.mkdir()
        yield name, *make(place)
