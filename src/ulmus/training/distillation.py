"""Labels from fitted neurons: a large surrogate answers fresh input, and a smaller one learns its answers too.

Simulating the detailed neuron costs a CPU second for each second; a surrogate answers in a hundredth of that. Its answers
are no ground truth: a neuron trained on them is still chosen and scored on trials of the detailed neuron.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ulmus.errors import ConfigError
from ulmus.files.batch_loading import Numbered, random_of
from ulmus.neuron import Surrogate, load_surrogate
from ulmus.neuron.spikes import spike_times
from ulmus.teachers.plan import check_amount, inputs_of
from ulmus.teachers.stimulus import Stimulus
from ulmus.teachers.teacher import Teacher
from ulmus.trials import (
    Batch,
    Header,
    Signal,
    Store,
    StoreWriter,
    Trial,
    TrialSource,
    Windows,
    events_from_trials,
)
from ulmus.trials.header import LOGIT_SITE

_TRIALS_AT_ONCE = 8


def label(
    surrogates: Surrogate | str | Path | Sequence[Surrogate | str | Path],
    cell: Teacher,
    stimulus: Stimulus | None = None,
    *,
    trials: int,
    out: str | Path,
    seconds: float = 6.0,
    seed: int = 1_000_000,
    card: dict[str, Any] | None = None,
    on_trial: Callable[[int, int], None] = lambda done, total: None,
) -> Store:
    """Let fitted neurons answer fresh input of a cell, for smaller ones to learn from; the cell itself is not simulated.

    Trial k has the input that `ulmus.simulate` gives trial k with the same seed. Several surrogates answer by the mean of
    their spike probabilities and voltages. Calling again after an interruption goes on.

    Args:
        surrogates: One or more surrogates fitted to this cell, or where they are: see `ulmus.load`.
        cell: The detailed neuron whose input is drawn.
        stimulus: Its input; by default the cell's own regime.
        trials: Number of trials.
        out: Folder of the store.
        seconds: Length of a trial in seconds.
        seed: Seed of the whole store; one that trials were simulated with would give their input again.
        card: What the store says of the surrogates; by default their names with their cards.
        on_trial: Called with what is done and the total.

    Raises:
        CheckpointError: a surrogate cannot be loaded.
        ConfigError: no surrogate, some that do not fit the cell or each other, or a store that was begun in another way.

    Example:
        >>> surrogate = ulmus.Surrogate(ulmus.ELM(100, 2, memory=5))
        >>> neuron = ulmus.teachers.IntegrateAndFire()
        >>> labels = ulmus.label(surrogate, neuron, trials=2, seconds=0.8, out="labels")
        >>> labels.header.sites
        ('soma', 'spike logit')
    """
    check_amount(trials, seconds, seed)
    several = [surrogates] if isinstance(surrogates, (Surrogate, str, Path)) else list(surrogates)
    fitted = [load_surrogate(one) for one in several]
    names = [str(one) if isinstance(one, (str, Path)) else f"surrogate {k}" for k, one in enumerate(several)]
    card = {name: one.card for name, one in zip(names, fitted, strict=True)} if card is None else card
    stimulus = cell.regime if stimulus is None else stimulus
    stimulus.check(cell, round(seconds * 1000), trials)
    return _labelled(fitted, cell, stimulus, trials, seconds, out, seed, card, on_trial)


def _labelled(
    surrogates: Sequence[Surrogate],
    cell: Teacher,
    stimulus: Stimulus,
    trials: int,
    seconds: float,
    out: str | Path,
    seed: int,
    card: dict[str, Any],
    on_trial: Callable[[int, int], None],
) -> Store:
    inputs = inputs_of(cell, stimulus)
    _check_surrogates(surrogates, len(inputs["input_sign"]))
    first = surrogates[0]
    header = Header(
        steps=round(seconds * 1000 / first.neuron.dt_ms),
        dt_ms=1.0,
        **inputs,
        sites=(*first.sites, LOGIT_SITE),
        signals=tuple(Signal(signal.name, signal.unit) for signal in first.signals),
        source="labels of fitted neurons",
        settings={
            "cell": cell.settings(),
            "input": stimulus.settings(),
            "seed": seed,
            "surrogates": card,
        },
    )
    writer = StoreWriter(out, header, trials_total=trials)
    waiting = sorted(set(range(trials)) - writer.done())
    for begin in range(0, len(waiting), _TRIALS_AT_ONCE):
        some = waiting[begin : begin + _TRIALS_AT_ONCE]
        drawn = [_input(cell, stimulus, header, seed, index) for index in some]
        for index, trial in zip(some, _answered(surrogates, drawn, header), strict=True):
            writer.add(index, trial)
        on_trial(trials - len(waiting) + begin + len(some), trials)
    return writer.finish()


def _check_surrogates(surrogates: Sequence[Surrogate], inputs: int) -> None:
    if not surrogates:
        raise ConfigError("no surrogate was given; expected a run folder, a saved one, or a shipped neuron.")
    for one in surrogates:
        found = one.neuron
        answers = [
            (*each.sites, *((signal.name, signal.unit) for signal in each.signals))
            for each in (one, surrogates[0])
        ]
        if (found.inputs, found.dt_ms, answers[0]) != (inputs, 1.0, answers[1]):
            raise ConfigError(
                f"a surrogate has inputs={found.inputs}, dt_ms={found.dt_ms}, sites={list(one.sites)}; expected {inputs} "
                "inputs, steps of 1 ms, and the same sites and signals for all. Use neurons fitted to this cell."
            )


def _answered(surrogates: Sequence[Surrogate], inputs: Sequence[Trial], header: Header) -> Iterator[Trial]:
    """The trials with the answers of the surrogates; spikes at the threshold of the first one."""
    voltage, logit, signals = _answers(surrogates, inputs, header)
    probability = 1 / (1 + np.exp(-logit.astype(np.float64)))
    for row, trial in enumerate(inputs):
        yield trial._replace(
            voltage_mv=np.concatenate([voltage[row], logit[row, :, None]], axis=1),
            spike_time_ms=spike_times(probability[row], surrogates[0].spike_threshold, 1.0),
            signals=None if signals is None else signals[row],
        )


def _input(cell: Teacher, stimulus: Stimulus, header: Header, seed: int, index: int) -> Trial:
    drawn = stimulus.draw(cell, header.steps, seed, index)
    silent = np.zeros((header.steps, len(header.sites)), dtype=np.float32)
    attributes = {"seed": seed, "trial": index, **drawn.attributes}
    return Trial(drawn.event_step, drawn.event_input, silent, np.empty(0), attributes, drawn.continuous)


@torch.no_grad()
def _answers(
    surrogates: Sequence[Surrogate], inputs: Sequence[Trial], header: Header
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Voltages ``[trials, time, sites]``, spike logit ``[trials, time]`` and further signals, where there are some."""
    events = events_from_trials(inputs, header)
    answers = [surrogate.predict(events) for surrogate in surrogates]
    probability = torch.stack([answer.spike_probability.double() for answer in answers]).mean(0)
    voltage = torch.stack([answer.voltage_mv for answer in answers]).mean(0)
    signals = None
    if header.signals:
        each = [
            torch.stack([answer.signals[one.name] for one in header.signals], dim=-1) for answer in answers
        ]
        signals = torch.stack(each).mean(0).float().numpy()
    return voltage.float().numpy(), torch.logit(probability, eps=1e-9).float().numpy(), signals


class MixedWindows(Numbered[Batch]):
    """Batches of trials, and now and then one of labels.

    Args:
        trials: Windows of trials of the detailed neuron.
        labelled: Windows of labels, of the same length.
        share: Probability that a batch is of labels.
    """

    def __init__(self, trials: Windows, labelled: Windows, share: float) -> None:
        self._trials, self._labelled, self._share = trials, labelled, share
        self.batches_per_epoch = trials.batches_per_epoch

    def batch(self, epoch: int, k: int) -> Batch:
        """Batch `k` of `epoch`: of labels or of trials, decided by (seed, epoch, k) alone."""
        # Far from where the windows take theirs, and the same in every process that shares the batch.
        draw = np.random.Generator(random_of(self._trials.seed, epoch, k).jumped(2**20)).random()
        if draw < self._share:
            return soft(self._labelled.batch(epoch, k))
        return self._trials.batch(epoch, k)


def soft(batch: Batch) -> Batch:
    """Windows of labels as training needs them: the probability of a spike in place of the spikes."""
    probability = torch.sigmoid(batch.voltage_mv[..., -1])
    return batch._replace(spikes=probability, voltage_mv=batch.voltage_mv[..., :-1])


def check_simulated(uses: Mapping[str, TrialSource]) -> None:
    """Whether trials are of the detailed neuron, and no labels.

    Args:
        uses: trials by the name of what they are for.

    Raises:
        ConfigError: some are labels.
    """
    for use, trials in uses.items():
        if LOGIT_SITE in trials.header.sites:
            raise ConfigError(
                f"{use} names labels of fitted neurons, which are no ground truth; expected trials of the detailed neuron. "
                "Give labels as data.labelled."
            )


def check_labelled(labelled: TrialSource, trials: TrialSource) -> None:
    """Whether labels can be learnt beside trials.

    Raises:
        ConfigError: they are of another layout, or no labels at all.
    """
    found, wanted = labelled.header, trials.header
    same = (found.inputs, found.dt_ms, found.signals) == (wanted.inputs, wanted.dt_ms, wanted.signals)
    if not same or found.sites != (*wanted.sites, LOGIT_SITE):
        raise ConfigError(
            f"data.labelled has {found.inputs} inputs, steps of {found.dt_ms} ms and sites {list(found.sites)}; expected "
            f"{wanted.inputs}, {wanted.dt_ms} ms and {[*wanted.sites, LOGIT_SITE]}: labels for the cell of data.train, made "
            "by ulmus label."
        )
