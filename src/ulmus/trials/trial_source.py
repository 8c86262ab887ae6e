"""Trials that can be read one by one or in windows: what a store and several of them have in common."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, UInt16

from ulmus.errors import ConfigError, DataError
from ulmus.files.reading import sha256_of_json
from ulmus.trials.header import LOGIT_SITE, Header
from ulmus.trials.trial import Trial


class Clip(NamedTuple):
    """A stretch of a trial as it is stored.

    Attributes:
        step_offset: events of step ``t`` are ``step_offset[t] - step_offset[0]`` onwards in `event_input`.
        event_input: input of each event, ordered by step.
        voltage_mv: membrane voltage in mV.
        spike_time_ms: output spikes in ms from the beginning of the *trial*.
        spike_bin: their label bins from the beginning of the clip.
        continuous: values of the continuous inputs; None where there is none.
        recorded: whether each step was recorded; None where all were.
        signals: values of the further signals; None where there is none.
    """

    step_offset: Int[np.ndarray, "time_plus_one"]
    event_input: UInt16[np.ndarray, "events"]
    voltage_mv: Float32[np.ndarray, "time sites"]
    spike_time_ms: Float64[np.ndarray, "spikes"]
    spike_bin: Int[np.ndarray, "spikes"]
    continuous: Float32[np.ndarray, "time channels"] | None = None
    recorded: Bool[np.ndarray, "time"] | None = None
    signals: Float32[np.ndarray, "time signals"] | None = None


def as_trial(clip: Clip, start: int, dt_ms: float, attributes: dict[str, Any]) -> Trial:
    """The clip that begins at step `start` as a trial of its own, with steps and times counted from there."""
    offsets = clip.step_offset.astype(np.int64)
    counts = offsets[1:] - offsets[:-1]
    return Trial(
        event_step=np.repeat(np.arange(counts.size, dtype=np.int32), counts),
        event_input=clip.event_input,
        voltage_mv=clip.voltage_mv,
        spike_time_ms=clip.spike_time_ms - start * dt_ms,
        attributes=attributes,
        continuous=clip.continuous,
        recorded=clip.recorded,
        signals=clip.signals,
    )


class TrialSource(ABC):
    """Trials that can be read one by one or in windows: a store, or several joined."""

    header: Header

    @abstractmethod
    def __len__(self) -> int:
        """Number of trials."""

    @abstractmethod
    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index` ; the arguments are not checked."""

    @abstractmethod
    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of trial `index` alone."""

    @property
    @abstractmethod
    def content_hash(self) -> str:
        """SHA-256 that names the content, for provenance."""

    @property
    @abstractmethod
    def description(self) -> list[dict[str, Any]]:
        """Every file or store behind these trials with its hash, for provenance.

        Trials of one ``origin`` are the same trials where they have the same number, wherever they lie.
        """

    def recorded_steps(self, index: int) -> int:
        """Steps of trial `index` up to the last recorded one: its length, where lengths differ."""
        recorded = self.clip(index, 0, self.header.steps).recorded if self.header.gaps else None
        return self.header.steps if recorded is None else int(np.flatnonzero(recorded)[-1]) + 1

    def trial(self, index: int) -> Trial:
        """A whole trial.

        Raises:
            DataError: there is no such trial, or its file is damaged.
        """
        return self.window(index, 0, self.header.steps)

    def window(self, index: int, start: int, stop: int) -> Trial:
        """The steps `start` to `stop` of a trial, with steps and times counted from `start`.

        Raises:
            DataError: there is no such trial or window, or its file is damaged.
        """
        if not (0 <= index < len(self) and 0 <= start < stop <= self.header.steps):
            raise DataError(
                f"trial {index}, steps {start} to {stop}: these data hold trials 0 to {len(self) - 1} of "
                f"{self.header.steps} steps; ask for a part of that"
            )
        return as_trial(self.clip(index, start, stop), start, self.header.dt_ms, self.attributes(index))


class JoinedTrials(TrialSource):
    """Trials of several stores behind each other, or some of each.

    Args:
        parts: store (or other source) and the indices to take from it.

    Raises:
        DataError: no trials, or sources whose trials do not fit together.
    """

    def __init__(self, parts: Sequence[tuple[TrialSource, range]]) -> None:
        self._parts = [(source, indices) for source, indices in parts if len(indices)]
        if not self._parts:
            raise DataError(f"no trials in {len(parts)} store(s); expected at least one; widen the slices")
        self._firsts = []
        self._length = 0
        for _, indices in self._parts:
            self._firsts.append(self._length)
            self._length += len(indices)
        first = self._parts[0][0]
        self.header = first.header
        for source, _ in self._parts[1:]:
            if differences := first.header.differences(source.header, layout_only=True):
                raise DataError(
                    f"{first!r} and {source!r} differ in {'; '.join(differences)}; expected trials of one layout; "
                    "use them apart"
                )
        if any(source.header.gaps for source, _ in self._parts):
            self.header = replace(first.header, gaps=True)

    def __repr__(self) -> str:
        return f"JoinedTrials({len(self)} of {', '.join(repr(source) for source, _ in self._parts)})"

    def __len__(self) -> int:
        return self._length

    def _find(self, index: int) -> tuple[TrialSource, int]:
        position = bisect_right(self._firsts, index) - 1
        source, indices = self._parts[position]
        return source, indices[index - self._firsts[position]]

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index`; the arguments are not checked."""
        source, local = self._find(index)
        clip = source.clip(local, start, stop)
        if self.header.gaps and clip.recorded is None:
            return clip._replace(recorded=np.ones(stop - start, dtype=bool))
        return clip

    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of trial `index` alone."""
        source, local = self._find(index)
        return source.attributes(local)

    @property
    def description(self) -> list[dict[str, Any]]:
        """Every source with its hash and the trials taken from it."""
        return [
            {**entry, "first": indices.start, "stop": indices.stop}
            for source, indices in self._parts
            for entry in source.description
        ]

    @property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of the sources and what is taken from them; paths do not count."""
        parts = [[source.content_hash, indices.start, indices.stop] for source, indices in self._parts]
        return sha256_of_json(parts)


class ChosenSites(TrialSource):
    """Trials of which the voltage of the soma and of some further sites alone is read, in labels the log odds of a spike too.

    Args:
        trials: Where the trials are.
        sites: Names of the further sites, in the order in which they are to come.

    Raises:
        ConfigError: a site that was not recorded, or one named twice.
    """

    def __init__(self, trials: TrialSource, sites: Sequence[str]) -> None:
        there = trials.header.sites
        if strange := [site for site in sites if site not in there[1:]]:
            raise ConfigError(
                f"{trials!r} has no further site {strange[0]!r}; expected some of {list(there[1:])}. Correct the sites."
            )
        chosen = (*there[:1], *sites, *(site for site in there[1:] if site == LOGIT_SITE))
        self.header = replace(trials.header, sites=chosen)
        self._trials, self._columns = trials, [there.index(site) for site in chosen]

    def __repr__(self) -> str:
        return f"{self._trials!r}, voltage of {', '.join(self.header.sites) or 'no site'} alone"

    def __len__(self) -> int:
        return len(self._trials)

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index`; the arguments are not checked."""
        clip = self._trials.clip(index, start, stop)
        return clip._replace(voltage_mv=clip.voltage_mv[:, self._columns])

    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of trial `index` alone."""
        return self._trials.attributes(index)

    @property
    def description(self) -> list[dict[str, Any]]:
        """That of the trials; the recipe says which sites were chosen."""
        return self._trials.description

    @property
    def content_hash(self) -> str:
        """That of the trials; the recipe says which sites were chosen."""
        return self._trials.content_hash
