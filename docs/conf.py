"""Settings of the site, which ``make docs`` builds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for site_text
import site_text
from sphinx.application import Sphinx

import ulmus

project = "Ulmus"
author = "The Ulmus developers"
version = release = ulmus.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
highlight_language = "text"  # formulas in docstrings are not Python; examples are known by their >>>
# A name between single backticks in a docstring is a link where it names something public.
default_role = "py:obj"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "Ulmus"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # its excerpts are fetched, which browsers refuse to pages opened from disk


def _fill_in(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = site_text.fill_in(source[0])


def setup(app: Sphinx) -> None:
    """Replace the marks for generated text before a page is parsed."""
    app.connect("source-read", _fill_in)
