"""Fitted neurons for other programs: C, JavaScript, NEURON, ONNX, and a page to play with."""

from ulmus.export.explorer import write_explorer
from ulmus.export.formats import export

__all__ = ["export", "write_explorer"]
