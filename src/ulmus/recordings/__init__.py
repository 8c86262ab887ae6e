"""Anybody's recordings as trials: a mapping says where files hold what, and in which units."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.recordings.conversion import convert
    from ulmus.recordings.mapping import Mapping, load_mapping

__all__ = ["Mapping", "convert", "load_mapping"]

__getattr__, __dir__ = lazy(__name__)
