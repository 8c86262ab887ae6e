"""Where output goes: results to standard output, progress and errors to standard error."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

# Paths may hold brackets, which must not be taken for colours.
console = Console(markup=False)
error_console = Console(stderr=True, markup=False)

_SECONDS_BETWEEN_LINES = 15.0


class Show(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show how much is done, of how much in total, and a note."""


@contextmanager
def progress(label: str) -> Iterator[Show]:
    """A progress bar, or an occasional line where standard error is not a terminal."""
    if error_console.is_terminal:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=error_console) as bar:
            task = bar.add_task(label, total=None, note="")

            def move(done: int, total: int, note: str = "") -> None:
                bar.update(task, completed=done, total=total, note=note)

            yield move
        return
    last = time.monotonic()
    begin: tuple[int, float] | None = None

    def line(done: int, total: int, note: str = "") -> None:
        nonlocal last, begin
        begin = begin or (done, time.monotonic())
        if done == total or time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            left = (total - done) * (last - begin[1]) / (done - begin[0]) if done > begin[0] else 0.0
            text = f"{label}: {done} of {total} {note}".rstrip()
            error_console.print(text + (f", {left:.0f} s left" if left else ""), soft_wrap=True)

    yield line


def say(text: str) -> None:
    """Print a line on what is being done."""
    error_console.print(text, soft_wrap=True, highlight=False)


SCORES = {
    "auc": ("AUC, spikes", "{:.4f}"),
    "tpr_at_fpr_0025": ("TPR at FPR 0.0025", "{:.4f}"),
    "tpr_at_fpr_01": ("TPR at FPR 0.01", "{:.4f}"),
    "rmse_mv": ("RMSE, mV", "{:.3f}"),
    "mae_mv": ("MAE, mV", "{:.3f}"),
    "explained_variance_percent": ("explained variance, %", "{:.2f}"),
    "precision_2ms": ("precision of spike times, 2 ms", "{:.3f}"),
    "recall_2ms": ("recall of spike times, 2 ms", "{:.3f}"),
    "f1_1ms": ("F1 of spike times, 1 ms", "{:.3f}"),
    "f1_2ms": ("F1 of spike times, 2 ms", "{:.3f}"),
    "f1_5ms": ("F1 of spike times, 5 ms", "{:.3f}"),
    "recall_3ms_isolated": ("recall of isolated spikes, 3 ms", "{:.3f}"),
    "recall_3ms_burst_first": ("recall of first spikes of bursts", "{:.3f}"),
    "recall_3ms_burst_later": ("recall of later spikes of bursts", "{:.3f}"),
    "subthreshold_rmse_mv": ("RMSE between spikes, mV", "{:.3f}"),
    "rmse_plateau_mv": ("RMSE in plateaus, mV", "{:.3f}"),
    "rate_hz": ("firing rate, Hz", "{:.3f}"),
    "predicted_rate_hz": ("predicted firing rate, Hz", "{:.3f}"),
    "rate_correlation": ("correlation of spike counts", "{:.3f}"),
    "isi_median_ms": ("median inter-spike interval, ms", "{:.1f}"),
    "predicted_isi_median_ms": ("predicted median interval, ms", "{:.1f}"),
    "isi_distance": ("distance of interval distributions (KS)", "{:.3f}"),
    "trials": ("trials", "{}"),
    "spikes": ("output spikes", "{}"),
    "accuracy": ("accuracy", "{:.4f}"),
    "accuracy_standard_error": ("standard error of the accuracy", "{:.4f}"),
    "balanced_accuracy": ("balanced accuracy", "{:.4f}"),
    "f1": ("F1, mean over classes", "{:.4f}"),
    "rmse": ("RMSE", "{:.4g}"),
    "rmse_persistence": ("RMSE if nothing changed", "{:.4g}"),
    "mae": ("MAE", "{:.4g}"),
    "r2": ("R2", "{:.4f}"),
    "bits_per_token": ("bits per token", "{:.4f}"),
    "loss": ("loss", "{:.4f}"),
    "sequences": ("sequences", "{:,}"),
    "parameters": ("trainable parameters", "{:,}"),
}
"""Scores as a user reads them: label and format."""


def score_rows(scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Label and text of every score, and its interval where there are some; a score that is not defined says so."""
    found = {key: (label, score_text(scores, key)) for key, (label, _) in SCORES.items() if key in scores}
    if "intervals" not in scores:
        return list(found.values())
    return [(*row, interval_text(scores["intervals"], key)) for key, row in found.items()]


def site_rows(scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Error and explained variance at every site beside the soma, and of further signals, in as many columns as `score_rows`."""
    keys = ("rmse_mv", "explained_variance_percent")
    rest = ("",) if "intervals" in scores else ()
    sites = [
        (f"{SCORES[key][0]}, {site}", score_text(found, key), *rest)
        for site, found in scores.get("sites", {}).items()
        for key in keys
    ]
    signals = [
        (f"{label}, {name}", text, *rest)
        for name, found in scores.get("signals", {}).items()
        for label, text in (
            (f"RMSE, {found['unit']}", f"{found['rmse']:.4g}"),
            (SCORES[keys[1]][0], score_text(found, keys[1])),
        )
    ]
    return sites + signals


def score_text(scores: Mapping[str, Any], key: str) -> str:
    """A score as a user reads it."""
    if scores[key] is None and key == "r2":
        return "undefined (targets do not vary)"
    if scores[key] is None:
        return f"undefined (no {'plateau' if key == 'rmse_plateau_mv' else 'spikes'})"
    return SCORES[key][1].format(scores[key])


def interval_text(intervals: Mapping[str, Any], key: str, between: str = " to ") -> str:
    """The interval of a score; nothing where it has none."""
    ends = intervals.get(key)
    return "" if ends is None else between.join(SCORES[key][1].format(end) for end in ends)


def print_table(title: str, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...] = ()) -> None:
    """What, and how much; with several columns of numbers, their names stand above."""
    # Neither title nor cells lose a letter where the terminal is narrow.
    console.print(title, style="italic", soft_wrap=True, highlight=False)
    box = SIMPLE_HEAD if columns else SIMPLE
    table = Table(show_header=bool(columns), box=box, pad_edge=False, collapse_padding=True)
    for number in range(len(rows[0])):
        name = columns[number] if columns else ""
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
