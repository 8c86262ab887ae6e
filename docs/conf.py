"""Settings of the site, which ``make docs`` builds."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for site_text
import site_text
from sphinx.application import Sphinx

import ulmus

project = "Ulmus"
author = "The Ulmus developers"
version = release = ulmus.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
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

# Links to what others document, from short lists of our own: the build asks no network.
intersphinx_mapping = {
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/torch.txt"),
    "numpy": ("https://numpy.org/doc/stable/", "inventories/numpy.txt"),
    "python": ("https://docs.python.org/3/", "inventories/python.txt"),
}
intersphinx_disabled_reftypes = ["std:*"]

# Tutorials and examples are run by the build, in a folder that vanishes; an error in one fails it.
os.environ["MATPLOTLIBRC"] = str(Path(__file__).parent / "matplotlibrc")
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # progress
nb_merge_streams = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["ulmus.css"]
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
