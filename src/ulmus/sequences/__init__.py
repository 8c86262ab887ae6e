"""Sequence classification: spoken digits as spikes, and the tasks of Long Range Arena.

``SequencesData`` and ``DigitsData`` are the ``data`` of a recipe; ``open_sequences`` and ``open_digits`` open the same data in
Python. ``make_*`` write data in the published layouts, ``fetch_*`` get the published ones.
"""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.sequences.digits.batches import AddedDigits, Binning, Digits
    from ulmus.sequences.digits.clips import open_digits
    from ulmus.sequences.digits.fetch import fetch_shd
    from ulmus.sequences.digits.settings import DigitsData
    from ulmus.sequences.digits.speech import speak_digits
    from ulmus.sequences.digits.spoken_digits import make_spoken_digits
    from ulmus.sequences.kinds import LABELLED_KINDS, LabelledData
    from ulmus.sequences.labelled_batches import LabelledBatch, LabelledBatches, Splits
    from ulmus.sequences.lra.fetch import fetch_lra
    from ulmus.sequences.lra.listops.writer import make_listops
    from ulmus.sequences.lra.pathfinder.settings import published_settings
    from ulmus.sequences.lra.pathfinder.writer import make_pathfinder
    from ulmus.sequences.lra.settings import TASKS, Lesson, SequencesData, open_sequences, task_splits

__all__ = [
    "LABELLED_KINDS",
    "TASKS",
    "AddedDigits",
    "Binning",
    "Digits",
    "DigitsData",
    "LabelledBatch",
    "LabelledBatches",
    "LabelledData",
    "Lesson",
    "SequencesData",
    "Splits",
    "fetch_lra",
    "fetch_shd",
    "make_listops",
    "make_pathfinder",
    "make_spoken_digits",
    "open_digits",
    "open_sequences",
    "published_settings",
    "speak_digits",
    "task_splits",
]

# Processes that draw images need no PyTorch, which takes seconds to load.
__getattr__, __dir__ = lazy(__name__)
