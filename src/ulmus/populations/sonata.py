"""Spikes as SONATA keeps them, the format of large network models: HDF5 with times and neurons of every population."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float64, Int64

from ulmus.errors import DataError
from ulmus.files.containers import open_container
from ulmus.files.writing import write_file
from ulmus.populations.population import Recording

_MAGIC, _VERSION = np.uint32(0x0A7A), np.array([0, 1], dtype=np.uint32)


def write_spikes(path: str | Path, recording: Recording, neurons: Mapping[str, range]) -> None:
    """Write the spikes of a run as a SONATA file: a population for every cell type, its neurons counted from 0.

    Example:
        >>> import tempfile
        >>> net = ulmus.Population([ulmus.populations.Cells(ulmus.load("l5pc-small"), 3, "pyramidal")])
        >>> path = tempfile.mkdtemp() + "/spikes.h5"
        >>> ulmus.populations.write_spikes(path, net.run(20.0), net.neurons)
        >>> [len(part) for part in ulmus.populations.read_spikes(path, "pyramidal")]
        [0, 0]

    Args:
        path: File to write; an existing one is replaced.
        recording: What `Population.run` returned.
        neurons: `Population.neurons`.

    Raises:
        OSError: it cannot be written.
    """

    def write(place: Path) -> None:
        with h5py.File(place, "w") as file:
            file.attrs["magic"], file.attrs["version"] = _MAGIC, _VERSION
            for name, numbers in neurons.items():
                here = (recording.spike_neuron >= numbers.start) & (recording.spike_neuron < numbers.stop)
                group = file.create_group(f"spikes/{name}")
                group.attrs.create(
                    "sorting", 2, dtype=h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, "u1")
                )
                times = group.create_dataset("timestamps", data=recording.spike_time_ms[here])
                times.attrs["units"] = "milliseconds"
                group.create_dataset(
                    "node_ids", data=(recording.spike_neuron[here] - numbers.start).astype(np.uint64)
                )

    write_file(Path(path), write)


def read_spikes(
    path: str | Path, population: str | None = None
) -> tuple[Float64[np.ndarray, "spikes"], Int64[np.ndarray, "spikes"]]:
    """Times in ms and neurons of the spikes of one population of a SONATA file, by time: input for `Population.run`.

    Args:
        path: The file.
        population: Its name; not needed where there is one.

    Raises:
        DataError: a file that cannot be read, no such population, or several and none chosen.
    """
    container = open_container(Path(path), "hdf5")
    entries = {name.strip("/"): name for name in container.entries}
    ends = "/timestamps"
    held = [
        name[len("spikes/") : -len(ends)]
        for name in entries
        if name.startswith("spikes/") and name.endswith(ends)
    ]
    chosen = population if population is not None else (held[0] if len(held) == 1 else None)
    if chosen not in held or f"spikes/{chosen}/node_ids" not in entries:
        raise DataError(
            f"{path} has spikes of the populations {held}; expected "
            f"{'one, or its name' if population is None else f'one named {population}'}, with timestamps and node_ids."
        )
    time_ms, neuron = (
        np.asarray(container.read(entries[f"spikes/{chosen}/{part}"])) for part in ("timestamps", "node_ids")
    )
    if (
        time_ms.ndim != 1
        or time_ms.shape != neuron.shape
        or not np.isfinite(time_ms.astype(np.float64)).all()
    ):
        raise DataError(
            f"{path}: timestamps and node_ids of {chosen!r} are not two lists of one length of finite numbers."
        )
    order = np.argsort(time_ms, kind="stable")
    return time_ms[order].astype(np.float64), neuron[order].astype(np.int64)
