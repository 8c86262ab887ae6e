"""How far the voltage of a cell reaches between its spikes, how much of it a clip cuts off, and how large other signals are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from ulmus.errors import DataError
from ulmus.trials.trial import label_bins
from ulmus.trials.trial_source import TrialSource

SPIKE_SURROUND_MS = (5.0, 2.0, 1.0)
"""Time around a spike that is no voltage between spikes; shorter for a neuron that fires so fast that little is left."""
QUANTILE = 0.999
"""Share of the voltage between spikes that a clip leaves whole: of the layer-5 pyramidal cell that is -55.8 mV, and its published
clip -55 mV."""
_FEWEST = 0.05
_MOST_TRIALS, _MOST_STEPS = 200, 5_000_000


class VoltageRange(NamedTuple):
    """How voltage becomes a target that fits a cell: ``(min(v, clip_mv) - offset_mv) * scale_per_mv``.

    Attributes:
        clip_mv: what 99.9 % of the voltage between spikes stays below, in whole mV; the highest voltage, so that nothing is cut,
            where spikes are no answer of their own or there is no time between them.
        offset_mv: median of the voltage between spikes.
        scale_per_mv: a third of its standard deviation becomes 1/9, as it does in the published target of the layer-5 cell.
    """

    clip_mv: float
    offset_mv: float
    scale_per_mv: float


class SiteVoltage(NamedTuple):
    """Voltage of one site in some trials, read once for all that is asked of it.

    Attributes:
        voltage_mv: NaN where it is missing.
        spikes: in which steps there is an output spike.
        dt_ms: duration of a step.
        source: what site and trials are called in messages.
    """

    voltage_mv: Float32[np.ndarray, "trials time"]
    spikes: Bool[np.ndarray, "trials time"]
    dt_ms: float
    source: str


class SignalRange(NamedTuple):
    """How a signal becomes a target: ``(value - offset) * scale``, so that a third of its standard deviation becomes 1/9."""

    offset: float
    scale: float


def site_voltage(trials: TrialSource, site: int = 0) -> SiteVoltage:
    """The voltage of a site, by default the soma, in up to 200 trials, evenly spaced."""
    header = trials.header
    chosen = _some(trials)
    voltage_mv = np.empty((len(chosen), header.steps), dtype=np.float32)
    spikes = np.zeros(voltage_mv.shape, dtype=bool)
    for row, index in enumerate(chosen):
        clip = trials.clip(index, 0, header.steps)
        voltage_mv[row] = clip.voltage_mv[:, site]
        spikes[row, label_bins(clip.spike_time_ms, header.dt_ms)] = True
    return SiteVoltage(voltage_mv, spikes, header.dt_ms, f"{trials!r}: the voltage of {header.sites[site]!r}")


def _some(trials: TrialSource) -> list[int]:
    most = min(len(trials), _MOST_TRIALS, max(1, _MOST_STEPS // trials.header.steps))
    chosen: list[int] = np.unique(np.linspace(0, len(trials) - 1, most).astype(np.int64)).tolist()
    return chosen


def signal_ranges(trials: TrialSource) -> list[SignalRange]:
    """The range of every further signal in as many trials: its median, and its standard deviation.

    Raises:
        DataError: a signal that is missing throughout.
    """
    header = trials.header
    clips = [trials.clip(index, 0, header.steps).signals for index in _some(trials)] if header.signals else []
    found = []
    for number, signal in enumerate(header.signals):
        values = np.concatenate([clip[:, number] for clip in clips if clip is not None]).astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            raise DataError(
                f"{trials!r}: the signal {signal.name!r} is missing (NaN) throughout; expected some of it. Leave it out."
            )
        offset, spread = float(np.median(values)), float(values.std())
        least = max(abs(offset), 1e-30) * 1e-6  # one that does not vary is learnt as it is
        found.append(SignalRange(float(f"{offset:.4g}"), float(f"{1 / (3 * max(spread, least)):.2g}")))
    return found


def voltage_range(site: SiteVoltage) -> VoltageRange:
    """The range of the voltage of a site.

    Raises:
        DataError: no voltage was recorded.
    """
    finite = np.isfinite(site.voltage_mv)
    if not finite.any():
        raise DataError(
            f"{site.source} is missing (NaN) throughout; expected some of it, to choose a clip from. Write trials of spikes "
            "alone with sites=() in their header."
        )
    quiet = site.voltage_mv[finite]
    clip_mv = float(np.ceil(quiet.max()))
    for surround_ms in SPIKE_SURROUND_MS if site.spikes.any() else ():
        reach = round(surround_ms / site.dt_ms)
        away = finite & ~_within(site.spikes, reach)
        if away.sum() >= _FEWEST * finite.sum():
            quiet = site.voltage_mv[away]
            clip_mv = float(np.ceil(np.quantile(quiet, QUANTILE)))
            break
    spread = float(np.minimum(quiet, clip_mv).std())
    return VoltageRange(
        clip_mv, round(float(np.median(quiet)), 1), float(f"{1 / (3 * max(spread, 0.01)):.2g}")
    )


def share_above(site: SiteVoltage, clip_mv: float) -> float:
    """Share of the recorded voltage of a site that a clip cuts off."""
    finite = np.isfinite(site.voltage_mv)
    return float((site.voltage_mv[finite] > clip_mv).sum() / max(1, finite.sum()))


def _within(spikes: Bool[np.ndarray, "trials time"], reach: int) -> Bool[np.ndarray, "trials time"]:
    """Steps at most `reach` from a spike."""
    padded = np.cumsum(np.pad(spikes, ((0, 0), (reach + 1, reach))), axis=1)
    near: Bool[np.ndarray, "trials time"] = padded[:, 2 * reach + 1 :] > padded[:, : -2 * reach - 1]
    return near
