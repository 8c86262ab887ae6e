"""Settings of the site, which ``make docs`` builds."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for site_text
import site_text
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

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


SHORT = {
    "ndarray": "numpy.ndarray",
    "numpy.random._generator.Generator": "numpy.random.Generator",
    "Tensor": "torch.Tensor",
    "torch.nn.modules.module.Module": "torch.nn.Module",
}
"""What annotations call something, and what its documentation does."""


def _find(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: Element) -> Element | None:
    """Links to names that annotations and docstrings shorten; intersphinx, which is asked next, finds the rest."""
    name = node["reftarget"] = SHORT.get(node["reftarget"], node["reftarget"])
    if name.endswith("Error"):
        full = f"ulmus.errors.{name.rpartition('.')[2]}"
        return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "exc", full, node, shown)
    return None


def _fill_in(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = site_text.fill_in(source[0])


def _as_written(
    _app: Sphinx, what: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Leave out what Python says of a field of a named tuple, and keep words before a colon from being taken for a type."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    elif lines and what in ("attribute", "property", "data"):
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ", 1)


def setup(app: Sphinx) -> None:
    """Replace the marks for generated text before a page is parsed, and find names that are written in short."""
    app.connect("autodoc-process-docstring", _as_written, priority=400)  # before Napoleon
    app.connect("source-read", _fill_in)
    app.connect("missing-reference", _find, priority=400)
