"""Whether a trial is what the header of its data set says."""

import json

import numpy as np
from jaxtyping import Float32

from ulmus.errors import DataError
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial, label_bins

LARGEST_CONTINUOUS = 1e4  # times the usual size: what is larger has another unit
LARGEST_MV = 300.0
"""No membrane voltage is further from 0; what is, has another unit or was not integrated well."""
USUAL_MV = (-130.0, 90.0)
"""What lies beyond is said, but not refused."""


def validate(trial: Trial, header: Header, where: str) -> None:
    """Check that a trial is what `header` says.

    Args:
        trial: the trial.
        header: what it should fit.
        where: file and trial, for the message.

    Raises:
        DataError: names `where`, the key and the value that is wrong.
    """
    expected = {
        "event_step": (np.int32, 1),
        "event_input": (np.uint16, 1),
        "voltage_mv": (np.float32, 2),
        "spike_time_ms": (np.float64, 1),
    }
    for key, (dtype, dimensions) in expected.items():
        array = getattr(trial, key)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != dimensions:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise _bad(where, key, f"is {found}", f"a {np.dtype(dtype)} array of {dimensions} dimension(s)")
    if trial.event_step.size != trial.event_input.size:
        found = f"has {trial.event_input.size} entries, event_step {trial.event_step.size}"
        raise _bad(where, "event_input", found, "one input for each event")
    _validate_events(trial, header, where)
    _validate_continuous(trial, header, where)
    _validate_recorded(trial, header, where)
    _validate_voltage(trial, header, where)
    _validate_signals(trial, header, where)
    _validate_spikes(trial, header, where)
    try:
        json.dumps(trial.attributes, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _bad(
            where, "attributes", f"cannot be written as JSON ({error})", "numbers, strings, lists"
        ) from error


def _validate_events(trial: Trial, header: Header, where: str) -> None:
    step = trial.event_step
    if not step.size:
        return
    descents = np.flatnonzero(step[1:] < step[:-1])
    if descents.size:
        at = int(descents[0])
        raise _bad(
            where,
            "event_step",
            f"falls from {step[at]} to {step[at + 1]} at event {at + 1}",
            "ascending steps",
        )
    if step[0] < 0 or step[-1] >= header.steps:
        raise _bad(
            where,
            "event_step",
            f"runs from {step[0]} to {step[-1]}",
            f"steps within 0 and {header.steps - 1}",
        )
    if int(trial.event_input.max()) >= header.event_inputs:
        raise _bad(
            where, "event_input", f"holds {trial.event_input.max()}", f"inputs 0 to {header.event_inputs - 1}"
        )


def _validate_continuous(trial: Trial, header: Header, where: str) -> None:
    if not header.continuous:
        if trial.continuous is not None:
            raise _bad(where, "continuous", "is given", "none, as the header names no continuous input")
        return
    values, shape = trial.continuous, (header.steps, len(header.continuous))
    if values is None or values.dtype != np.float32 or values.shape != shape:
        found = "is missing" if values is None else f"is {values.dtype} {values.shape}"
        raise _bad(where, "continuous", found, f"a float32 array of shape {shape} (steps, channels)")
    far = ~(np.abs(values) <= LARGEST_CONTINUOUS * np.array([channel.scale for channel in header.continuous]))
    if far.any():
        step, channel = np.argwhere(far)[0]
        name, unit, scale = header.continuous[channel]
        found = f"is {values[step, channel]} {unit} at step {step}, channel {name!r}"
        raise _bad(where, "continuous", found, f"finite values of a usual size of {scale:g} {unit}")


def _validate_recorded(trial: Trial, header: Header, where: str) -> None:
    found = trial.recorded
    if not header.gaps:
        if found is not None:
            raise _bad(where, "recorded", "is given", "none, as the header names no gaps")
        return
    if found is None or found.dtype != bool or found.shape != (header.steps,):
        told = "is missing" if found is None else f"is {found.dtype} {found.shape}"
        raise _bad(where, "recorded", told, f"a bool array of {header.steps} steps")
    if not found.any():
        raise _bad(where, "recorded", "is false throughout", "some step that was recorded")


def _validate_voltage(trial: Trial, header: Header, where: str) -> None:
    shape = (header.steps, len(header.sites))
    if trial.voltage_mv.shape != shape:
        raise _bad(where, "voltage_mv", f"has shape {trial.voltage_mv.shape}", f"{shape} (steps, sites)")
    _validate_present(
        trial.voltage_mv, trial, "voltage_mv", [f"site {site!r}" for site in header.sites], where
    )
    largest = np.abs(trial.voltage_mv).max(axis=0, where=np.isfinite(trial.voltage_mv), initial=0.0)
    beyond = np.flatnonzero(largest > np.where(np.arange(largest.size) == 0, LARGEST_MV, 10 * LARGEST_MV))
    if beyond.size:
        found = f"reaches {largest[beyond[0]]:g} at site {header.sites[beyond[0]]!r}"
        raise _bad(
            where, "voltage_mv", found, f"at most {LARGEST_MV:g} mV at the soma, ten times that elsewhere"
        )


def _validate_signals(trial: Trial, header: Header, where: str) -> None:
    values, shape = trial.signals, (header.steps, len(header.signals))
    if not header.signals:
        if values is not None:
            raise _bad(where, "signals", "is given", "none, as the header names no signal")
        return
    if values is None or values.dtype != np.float32 or values.shape != shape:
        found = "is missing" if values is None else f"is {values.dtype} {values.shape}"
        raise _bad(where, "signals", found, f"a float32 array of shape {shape} (steps, signals)")
    _validate_present(
        values, trial, "signals", [f"signal {signal.name!r}" for signal in header.signals], where
    )


def _validate_present(
    values: Float32[np.ndarray, "time columns"], trial: Trial, key: str, names: list[str], where: str
) -> None:
    """Values are finite; where trials have gaps, what is missing is NaN, and what was not recorded is missing."""
    finite = np.isfinite(values)
    wrong = ~finite
    if trial.recorded is not None:
        wrong = np.isinf(values) | (finite & ~trial.recorded[:, None])
    if wrong.any():
        at = np.argwhere(wrong)[0]
        found = f"is {values[tuple(at)]} at step {at[0]}, {names[at[1]]}"
        raise _bad(where, key, found, "finite numbers" if trial.recorded is None else "NaN in gaps")


def _validate_spikes(trial: Trial, header: Header, where: str) -> None:
    times = trial.spike_time_ms
    if not times.size:
        return
    if not header.spikes:
        raise _bad(where, "spike_time_ms", "holds spikes", "none, as the header says that they are not known")
    if not np.isfinite(times).all() or times.min() < 0:
        bad = times[~(np.isfinite(times) & (times >= 0))][0]
        raise _bad(where, "spike_time_ms", f"holds {bad}", "finite times from 0 on")
    if (np.diff(times) < 0).any():
        at = int(np.flatnonzero(np.diff(times) < 0)[0])
        raise _bad(where, "spike_time_ms", f"falls from {times[at]} to {times[at + 1]}", "ascending times")
    # The last label bin ends half a step after the last voltage sample.
    if (
        times[-1] > 2 * header.duration_ms + header.dt_ms
        or label_bins(times[-1:], header.dt_ms)[0] >= header.steps
    ):
        raise _bad(
            where,
            "spike_time_ms",
            f"holds {times[-1]}",
            f"times within the {header.duration_ms} ms of the trial",
        )
    if trial.recorded is not None and not (known := trial.recorded[label_bins(times, header.dt_ms)]).all():
        raise _bad(
            where,
            "spike_time_ms",
            f"holds {times[~known][0]}, in a gap",
            "no spike where nothing was recorded",
        )


def _bad(where: str, key: str, found: str, wanted: str) -> DataError:
    return DataError(f"{where}: {key} {found}; expected {wanted}; correct the data or leave this trial out")
