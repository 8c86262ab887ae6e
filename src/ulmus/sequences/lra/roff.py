"""The text of manual pages, without their markup."""

import re

_ESCAPES = re.compile(
    r"\\f(?:\(..|\[[^]]*\]|.)|\\s[-+]?\d+|\\\*(?:\(..|\[[^]]*\]|.)|\\[(][a-z]{2}|\\\[[^]]*\]|\\[&%/,|^:!0]"
)
_COMMENT = re.compile(r"\\[\"#].*")
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s"])+)')
_ALTERNATING = {"BR", "RB", "BI", "IB", "IR", "RI"}
_HEADINGS = {"SH", "SS", "Sh", "Ss"}
_TEXT_MACROS = {"B", "I", "SM", "SB", "TP", "IP", "Nm", "Fl", "Ar", "Pa", "Em", "Sy", "Fn", "Va", "Dv", "Nd", "Li"}  # fmt: skip
_REFERENCE = re.compile(r"([\w.+:@-]+)\s?\((\d\w*)\)")


def page_text(source: str) -> tuple[str, set[tuple[str, str]]]:
    """The text of a page without the section SEE ALSO, and the pages (name, section) that this section names.

    Fonts, comments and layout are left out; tables and macros of a page's own stay as they are written.
    """
    kept: list[str] = []
    see_also: list[str] = []
    part = kept
    for line in source.replace("\\\n", "").splitlines():
        heading, text = _line(line)
        if heading:
            part = see_also if text.upper() == "SEE ALSO" else kept
        if text and not (heading and part is see_also):
            part.append(text)
    references = set(_REFERENCE.findall("\n".join(see_also)))
    return "\n".join(kept), references


def _line(line: str) -> tuple[bool, str]:
    """Whether this is a heading, and what is to be read of a line."""
    if not line.startswith((".", "'")):
        return False, _plain(line)
    name, _, rest = line[1:].strip().partition(" ")
    arguments = [_plain((quoted or bare).replace('""', '"')) for quoted, bare in _ARGUMENT.findall(rest)]
    if name == "Xr" and len(arguments) > 1:
        return False, f"{arguments[0]}({arguments[1]})"
    if name in _ALTERNATING:
        return False, "".join(arguments)
    if name in _HEADINGS or name in _TEXT_MACROS:
        return name in ("SH", "Sh"), " ".join(arguments)
    return False, ""


def _plain(text: str) -> str:
    text = _ESCAPES.sub("", _COMMENT.sub("", text))
    return text.replace("\\-", "-").replace("\\ ", " ").replace("\\e", "\\")
