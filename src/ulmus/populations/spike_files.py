"""Spikes in the field's own files: SONATA, the format of large network models, and NWB, that of recordings."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import h5py
import numpy as np
from jaxtyping import Float64, Int64

from ulmus.arguments import whole_numbers
from ulmus.errors import ConfigError, DataError, extra
from ulmus.files.containers import open_container
from ulmus.files.hdf5 import Hdf5
from ulmus.files.keyed_numbers import Container, known_unit
from ulmus.files.reading import explained
from ulmus.files.writing import write_file
from ulmus.populations.population import Recording

_MAGIC, _VERSION = np.uint32(0x0A7A), np.array([0, 1], dtype=np.uint32)
_IN_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001}


def write_spikes(path: str | Path, recording: Recording, neurons: Mapping[str, range]) -> None:
    """Write the spikes of a run: as NWB where the name ends in ``.nwb``, else as SONATA.

    SONATA has a population for every cell type, its neurons counted from 0. NWB has a table of units, a row for every neuron,
    whose column ``cell_type`` names its type; it is written by PyNWB (``pip install 'ulmus[nwb]'``).

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
        ConfigError: neurons of another kind, or a name that SONATA cannot hold.
        OSError: it cannot be written.
        MissingPackageError: NWB without PyNWB.
    """
    target = Path(path)
    if not isinstance(neurons, Mapping):
        raise ConfigError(f"neurons={str(neurons)[:60]} name no cells; expected Population.neurons.")
    write = _write_nwb if target.suffix.lower() == ".nwb" else _write_sonata
    write_file(target, lambda place: write(place, recording, neurons))


def _write_sonata(place: Path, recording: Recording, neurons: Mapping[str, range]) -> None:
    for name in neurons:
        if not isinstance(name, str) or "\0" in name or {"", "."} & set(name.split("/")):
            raise ConfigError(
                f"cells named {name!r} cannot be a population of SONATA; expected a text that is a key of HDF5, such as "
                "'pyramidal'. Name them so in neurons."
            )
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


def _write_nwb(place: Path, recording: Recording, neurons: Mapping[str, range]) -> None:
    with extra("nwb", "writing spikes as NWB"):
        from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile(
        session_description="spikes of a simulated population of fitted neurons (ulmus.Population)",
        identifier=str(uuid4()),
        session_start_time=datetime.now(UTC),
    )
    file.add_unit_column("cell_type", "name of the cells in the population")
    order = np.argsort(recording.spike_neuron, kind="stable")
    time_s, neuron = recording.spike_time_ms[order] / 1000, recording.spike_neuron[order]
    for name, numbers in neurons.items():
        edges = np.searchsorted(neuron, np.arange(numbers.start, numbers.stop + 1))
        for number, first, end in zip(numbers, edges, edges[1:], strict=False):
            file.add_unit(id=number, spike_times=time_s[first:end], cell_type=name)
    with NWBHDF5IO(place, "w") as io:
        io.write(file)


def read_spikes(
    path: str | Path, population: str | None = None
) -> tuple[Float64[np.ndarray, "spikes"], Int64[np.ndarray, "spikes"]]:
    """Times in ms and neurons of the spikes of one population of a SONATA or NWB file, by time: input for `Population.run`.

    Args:
        path: The file; of NWB, its name ends in ``.nwb``.
        population: Its name, in NWB that of the ``cell_type``; not needed where there is one. Its neurons are counted from 0.

    Raises:
        DataError: a file that cannot be read, no such population, or several and none chosen.
    """
    nwb = Path(path).suffix.lower() == ".nwb"
    container = open_container(Path(path), "nwb" if nwb else "hdf5")
    time_ms, neuron = (_read_nwb if nwb else _read_sonata)(container, population)
    if (
        time_ms.ndim != 1
        or time_ms.shape != neuron.shape
        or not np.isfinite(time_ms.astype(np.float64)).all()
    ):
        raise DataError(
            f"{path}: times and neurons of the spikes are not two lists of one length of finite numbers."
        )
    neuron = whole_numbers(f"{path}: node_ids", neuron, DataError)
    if (neuron < 0).any():
        raise DataError(f"{path}: the node id {neuron.min()} is none; expected 0 or more. Correct node_ids.")
    order = np.argsort(time_ms, kind="stable")
    return time_ms[order].astype(np.float64), neuron[order]


def _chosen(path: Path, held: list[str], population: str | None) -> str:
    """The name of the population that is asked for, or of the only one."""
    if population is None and len(held) == 1:
        return held[0]
    if population is None or population not in held:
        raise DataError(
            f"{path} has spikes of the populations {held}; expected "
            f"{'one, or its name' if population is None else f'one named {population}'}."
        )
    return population


def _read_sonata(container: Container, population: str | None) -> tuple[np.ndarray, np.ndarray]:
    parts = ("timestamps", "node_ids")
    keys = [key.strip("/") for key in container.entries]
    held = [
        key[len("spikes/") : -len("/timestamps")]
        for key in keys
        if key.startswith("spikes/") and key.endswith("/timestamps")
    ]
    if "spikes/timestamps" in keys:
        raise DataError(
            f"{container.path} has its timestamps directly under spikes, an older layout without populations; expected "
            "spikes/<population>/timestamps and node_ids (once gids). Move them there."
        )
    chosen = _chosen(container.path, held, population)
    time, neuron = (np.asarray(container.read(f"spikes/{chosen}/{part}")) for part in parts)
    return time * _in_ms(container.path, f"spikes/{chosen}/timestamps"), neuron


def _in_ms(path: Path, key: str) -> float:
    """What times are multiplied with: the attribute ``units`` says it, and without it they are in ms."""
    units = np.ravel(Hdf5(path).dataset(key).attrs.get("units", "ms")).tolist()
    factor = _IN_MS.get(known_unit(*units[:1]) or "")
    if factor is None:
        raise DataError(
            f"{path}: {key} has units={units}; expected seconds, milliseconds or microseconds. Correct the attribute."
        )
    return factor


def _read_nwb(container: Container, population: str | None) -> tuple[np.ndarray, np.ndarray]:
    trains = container.read("units/spike_times")
    if not isinstance(trains, list):
        raise DataError(
            f"{container.path}: units/spike_times has no index; expected one that says where each unit ends."
        )
    types = np.full(len(trains), population)
    if "units/cell_type" in container.entries:
        types = np.asarray(container.read("units/cell_type", kinds="U"))
        population = _chosen(container.path, sorted(set(types.tolist())), population)
    with explained(str(container.path), "one cell_type for each unit", "write it again"):
        own = [train for train, name in zip(trains, types, strict=True) if name == population]
    counts = [len(train) for train in own]
    return 1000 * np.concatenate([np.zeros(0), *own]), np.repeat(np.arange(len(own)), counts)
