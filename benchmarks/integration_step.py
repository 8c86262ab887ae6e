"""What a coarser integration step does to the voltage and the spikes of a simulated cell.

The stores hold the same trials, simulated at different steps:

    for step in 0.025 0.05 0.1; do ulmus simulate l5pc --trials 48 --seed 9100 --step-ms $step --out step-$step; done
    python benchmarks/integration_step.py step-0.025 step-0.05 step-0.1 --out steps.json
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import start, write

from ulmus.cli.console import print_table
from ulmus.errors import DataError
from ulmus.trials import Store
from ulmus.trials.spike_matching import matched_spikes

FROM_MS, CLIP_MV = 500, -55.0
"""What is scored of a trial, and where its voltage is cut, as of NeuronIO (Beniaguev et al. 2021)."""
TOLERANCE_MS, WIDE_MS = 2.0, 10.0


class StepRow(NamedTuple):
    """Trials at one step beside the same ones at the finest."""

    store: str
    trials: int
    reference_spikes: int
    spikes: int
    matched_share: float
    """Spikes of the reference with a spike within 2 ms, one to one."""
    median_lag_ms: float
    """Of spikes at most 10 ms apart: how much later they come."""
    voltage_rmse_mv: float
    """Of the voltage cut at -55 mV."""


def compare(store: Store, reference: Store) -> StepRow:
    """Spikes and voltage of all trials beside those of the reference.

    Raises:
        DataError: the stores hold other trials.
    """
    if len(store) != len(reference):
        raise DataError(
            f"{store.path} holds {len(store)} trials, {reference.path} {len(reference)}; expected as many"
        )
    if found := store.header.differences(reference.header, layout_only=True):
        raise DataError(
            f"{store.path} differs from {reference.path} in {'; '.join(found)}; expected the same cell and input"
        )
    squares, spikes, wanted, matched, lags = [], 0, 0, 0, []
    for index in range(len(store)):
        ours, theirs = store.trial(index), reference.trial(index)
        if not np.array_equal(ours.event_step, theirs.event_step) or not np.array_equal(
            ours.event_input, theirs.event_input
        ):
            raise DataError(
                f"trial {index} of {store.path} has other input than that of {reference.path}; expected the same; simulate both "
                "with the same --seed and settings"
            )
        a, b = (
            np.minimum(trial.voltage_mv[int(FROM_MS / store.header.dt_ms) :, 0], CLIP_MV)
            for trial in (ours, theirs)
        )
        squares.append(np.square(a - b))
        late, expected = (trial.spike_time_ms[trial.spike_time_ms >= FROM_MS] for trial in (ours, theirs))
        spikes, wanted = spikes + late.size, wanted + expected.size
        matched += len(matched_spikes(expected, late, TOLERANCE_MS))
        pairs = matched_spikes(expected, late, WIDE_MS)
        lags.append(late[pairs[:, 1]] - expected[pairs[:, 0]])
    return StepRow(
        store.path.name,
        len(store),
        wanted,
        spikes,
        matched / max(wanted, 1),
        float(np.median(np.concatenate(lags))),
        float(np.sqrt(np.concatenate(squares).mean())),
    )


def main(reference: Path, *stores: Path, out: Path | None = None) -> None:
    """Compare the same trials at different integration steps.

    Args:
        reference: Store at the finest step.
        stores: Stores of the same trials at other steps.
        out: JSON file for the rows.
    """
    finest = Store(reference)
    rows = [compare(Store(path), finest) for path in stores]
    print_table(
        f"beside {reference.name}",
        [
            (
                row.store,
                f"{row.spikes} of {row.reference_spikes}",
                f"{row.matched_share:.1%}",
                f"{row.median_lag_ms:+.2f}",
                f"{row.voltage_rmse_mv:.3f}",
            )
            for row in rows
        ],
        ("", "spikes", "within 2 ms", "median lag, ms", "RMSE, mV"),
    )
    write(rows, out)


if __name__ == "__main__":
    start(main)
