"""Sequence classification tasks: ListOps, Pathfinder and pixels, read from the published layouts or generated in them."""

from ulmus.data.tasks.batches import SequenceBatches
from ulmus.data.tasks.encoding import GrayBins, Intensity, LitPixels, OneHot, gray_bins
from ulmus.data.tasks.listops import ListOps, listops_splits
from ulmus.data.tasks.opening import open_sequences, task_splits
from ulmus.data.tasks.pathfinder import Pathfinder, pathfinder_splits
from ulmus.data.tasks.pixels import ProcessedPixels, processed_splits
from ulmus.data.tasks.sequences import Labelled, Part, Sequences, Splits, random_split

__all__ = [
    "GrayBins",
    "Intensity",
    "Labelled",
    "ListOps",
    "LitPixels",
    "OneHot",
    "Part",
    "Pathfinder",
    "ProcessedPixels",
    "SequenceBatches",
    "Sequences",
    "Splits",
    "gray_bins",
    "listops_splits",
    "open_sequences",
    "pathfinder_splits",
    "processed_splits",
    "random_split",
    "task_splits",
]
