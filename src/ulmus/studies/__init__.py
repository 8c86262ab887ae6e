"""The paper's experiments: many runs from recipes, their scores in tables and figures next to the published ones."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.studies.study import Study, load_study, members, shipped_studies
    from ulmus.studies.sweep import Search, load_search, sweep

__all__ = ["Search", "Study", "load_search", "load_study", "members", "shipped_studies", "sweep"]

__getattr__, __dir__ = lazy(__name__)
