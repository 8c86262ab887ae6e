"""Fitted neurons for other programs: C, JavaScript, NEURON."""

from ulmus.export.formats import export

__all__ = ["export"]
