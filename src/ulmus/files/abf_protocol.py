"""What an ABF file commanded: the waveform of every output and sweep, where its protocol is one that Neo rebuilds rightly."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

OFF, STEP = 0, 1
_BY_EPOCHS = 1


class Command(NamedTuple):
    """The waveform that an output of the amplifier was to follow.

    Attributes:
        name: of the output, such as ``Cmd 0``.
        unit: as the file says it.
        sweeps: samples of every sweep, at the rate of the recording.
    """

    name: str
    unit: str
    sweeps: list[Float64[np.ndarray, "samples"]]


def commands(reader: Any) -> tuple[list[Command], str]:
    """Commands of a file, and why there are none or not all; of `neo.io.AxonIO`, nothing of other readers.

    Neo draws every epoch as a step that begins from the holding level. What a protocol does beyond that, it would give wrongly.
    """
    info = getattr(reader, "_axon_info", None)
    if info is None:
        return [], ""
    if info["fFileVersionNumber"] < 2:
        return [], "files of ABF 1 hold no protocol that Neo reads"
    if info["protocol"]["nAlternateDACOutputState"] or info["sections"]["UserListSection"]["llNumEntries"]:
        return [], "its protocol alternates outputs or takes values from a list"
    try:
        waves, names, units = reader.read_raw_protocol()
    except Exception as error:  # the recording can be read all the same
        return [], f"Neo cannot draw its protocol ({type(error).__name__}: {error})"
    found, without = [], []
    for number, (name, unit) in enumerate(zip(names, units, strict=True)):
        if why := _doubt(info, number):
            without.append(f"{name}: {why}")
        else:
            sweeps = [np.asarray(sweep[number], dtype=np.float64) for sweep in waves]
            if all(sweep.size for sweep in sweeps):
                found.append(Command(str(name), str(unit), sweeps))
    return found, "; ".join(without)


def _doubt(info: dict[str, Any], number: int) -> str:
    """Why the waveform of an output is not known; empty where it is."""
    output = info["listDACInfo"][number]
    epochs = info["dictEpochInfoPerDAC"].get(number, {}).values()
    used = [epoch for epoch in epochs if epoch["lEpochInitDuration"] or epoch["lEpochDurationInc"]]
    if not output["nWaveformEnable"]:
        return "has no waveform"
    if output["nWaveformSource"] != _BY_EPOCHS:
        return "plays a file"
    if output["nDACNum"] != number or output["nInterEpisodeLevel"] or output["nConditEnable"]:
        return "holds the last level between sweeps, or has a conditioning train"
    if any(epoch["nEpochType"] != STEP for epoch in used):
        return "has epochs that are no steps, such as ramps or pulses"
    return ""
