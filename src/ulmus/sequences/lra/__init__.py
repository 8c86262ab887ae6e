"""Sequence classification tasks: ListOps, Pathfinder and pixels, read from the published layouts or generated in them."""

from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import GrayBins, Intensity, LitPixels, OneHot, gray_bins
from ulmus.sequences.lra.labelled import Labelled, Part, Sequences, Splits, random_split
from ulmus.sequences.lra.listops.files import ListOps, listops_splits
from ulmus.sequences.lra.pathfinder.files import Pathfinder, pathfinder_splits
from ulmus.sequences.lra.pixels import ProcessedPixels, processed_splits
from ulmus.sequences.lra.tasks import open_sequences, task_splits

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
