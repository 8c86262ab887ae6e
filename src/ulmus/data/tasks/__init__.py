"""Sequence classification tasks: ListOps, Pathfinder and pixels, read from the published layouts or generated in them."""

from ulmus.data.tasks.listops import ListOps, listops_splits
from ulmus.data.tasks.pathfinder import Pathfinder, pathfinder_splits
from ulmus.data.tasks.pixels import ProcessedPixels, gray_bins, processed_splits
from ulmus.data.tasks.sequences import Labelled, Part, Sequences, Splits, random_split

__all__ = [
    "Labelled",
    "ListOps",
    "Part",
    "Pathfinder",
    "ProcessedPixels",
    "Sequences",
    "Splits",
    "gray_bins",
    "listops_splits",
    "pathfinder_splits",
    "processed_splits",
    "random_split",
]
