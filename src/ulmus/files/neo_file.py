"""Sweeps of electrophysiology programs (ABF and others), as the package Neo reads them."""

from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError, extra
from ulmus.files.abf_protocol import Command, commands
from ulmus.files.keyed_numbers import Array, Container, Entry, Part, known_unit
from ulmus.files.reading import explained


class NeoFile(Container):
    """Signals and spike trains by sweep and name: ``sweep_0/IN 0/data``, ``sweep_0/spikes_1``; times from the sweep's beginning.

    What an ABF file commanded is ``sweep_0/protocol/Cmd 0/data``.
    Formats are as Neo finds them; pickles, which may run code, are not read. Neo's readers are not made for hostile files.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with extra("neo", f"reading {path}"):
            import neo
        self._arrays: dict[str, Array] = {}
        self._clocks: dict[str, dict[str, Any]] = {}
        with explained(str(path), "a file that Neo reads", "check the file, or export it in another format"):
            reader = neo.io.get_io(str(path))
            if isinstance(reader, neo.io.PickleIO):
                raise DataError(
                    f"{path} is a pickle, which may run code; expected recordings; export them in another format"
                )
            segments = [segment for block in reader.read() for segment in block.segments]
            for number, segment in enumerate(segments):
                self._note(f"sweep_{number}", segment)
            found, self.without = commands(reader)
            for command in found:
                for number, values in enumerate(command.sweeps[: len(segments)]):
                    self._note_command(f"sweep_{number}", segments[number], command, values)

    def _note(self, sweep: str, segment: Any) -> None:
        for signal in segment.analogsignals:
            start_ms = float((signal.t_start - segment.t_start).rescale("ms"))
            clock = {"sampling_hz": float(signal.sampling_rate.rescale("Hz")), "start_ms": start_ms}
            values, unit = np.asarray(signal.magnitude), known_unit(signal.dimensionality.string)
            names = signal.array_annotations.get("channel_names")
            for column in range(values.shape[1]):
                name = str(signal.name or "signal" if names is None else names[column]).replace("/", "_")
                key = f"{sweep}/{name}/data"
                if key in self.entries:
                    raise DataError(
                        f"{self.path}: two signals of {sweep} are called {name!r}; expected distinct names; rename one"
                    )
                self._arrays[key], self._clocks[f"{sweep}/{name}"] = values[:, column], clock
                self.entries[key] = Entry((len(values),), str(values.dtype), unit)
        for number, train in enumerate(segment.spiketrains):
            key = f"{sweep}/spikes_{number}"
            self._arrays[key] = np.asarray((train.times - segment.t_start).rescale("ms").magnitude)
            self.entries[key] = Entry(self._arrays[key].shape, "float64", "ms")

    def _note_command(self, sweep: str, segment: Any, command: Command, values: Array) -> None:
        place = f"{sweep}/protocol/{command.name.replace('/', '_')}"
        clock = {"sampling_hz": float(segment.analogsignals[0].sampling_rate.rescale("Hz")), "start_ms": 0.0}
        self._arrays[f"{place}/data"], self._clocks[place] = values, clock
        self.entries[f"{place}/data"] = Entry(values.shape, str(values.dtype), known_unit(command.unit))

    def entry(self, key: str) -> Entry:
        """What a key holds.

        Raises:
            DataError: the file has no such key; names the nearest one, or says why there is no protocol.
        """
        if "/protocol/" in key and key.strip("/") not in self.entries and self.without:
            raise DataError(
                f"{self.path} gives no {key!r}: {self.without}; expected the current as a recorded channel, or a protocol "
                "of steps in ABF 2. Name the channel of the current that `ulmus data inspect` lists, or write the current of the "
                "protocol beside the voltage into an HDF5, NPZ or CSV file."
            )
        return super().entry(key)

    def _read(self, key: str, part: Part) -> Any:
        return self._arrays[key][part]

    def series(self, key: str) -> dict[str, Any]:
        """Where the samples of a signal are, and when they were taken; nothing for another key."""
        key = key.strip("/").removesuffix("/data")
        return {"values": f"{key}/data", **self._clocks[key]} if key in self._clocks else {}
