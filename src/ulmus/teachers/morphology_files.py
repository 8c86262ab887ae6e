"""Read reconstructions: SWC and Neurolucida ASC.

Both formats lose how thick a branch is where it leaves its parent. As in NEURON's import, a branch starts at its
parent's last point with the diameter of its own first point, and a stem starts at its own first point.

The readers are our own because MorphIO 3.5, the library for this, refuses files with a byte order mark and traced somata
of several contours, rounds coordinates to single precision, and ends the process at deeply nested parentheses.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmus.errors import DataError
from ulmus.teachers.morphology import APICAL, AXON, BASAL, REGION_NAMES, SOMA, Morphology, Section, assemble

SHIPPED = "C060114A7"

_LARGEST_UM = 1e7  # no neuron, of whatever unit, lies farther from the origin


def load_morphology(path: str | Path | None = None) -> Morphology:
    """Read a pyramidal cell from an ``.swc`` or ``.asc`` file, or the shipped reconstruction when no path is given.

    The axon in the file is left out; `Morphology` has the published stub instead.

    Raises:
        DataError: The file is missing, damaged, or not a cell with soma, basal and apical dendrites.
    """
    if path is None:
        text = files("ulmus.teachers").joinpath("morphologies", f"{SHIPPED}.swc").read_text(encoding="utf-8")
        return _from_swc(text, f"{SHIPPED}.swc", SHIPPED)
    path = Path(path)
    readers = {".swc": _from_swc, ".asc": _from_asc}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"{path}: unknown kind of morphology file {path.suffix!r}; expected .swc or .asc. Convert the file first."
        )
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the morphology ({error.strerror}); expected an .swc or .asc file. Check the path."
        ) from error
    return readers[path.suffix.lower()](text, str(path), path.stem)


def _lines(text: str) -> list[str]:
    """The lines of a file; a form feed or a line separator of Unicode within a comment ends none."""
    return re.split("\r\n|\n|\r", text)


# SWC


class _Point(NamedTuple):
    region: int
    parent: int
    xyzr: np.ndarray
    line: int


def _from_swc(text: str, source: str, name: str) -> Morphology:
    nodes = _swc_nodes(text, source)
    children: dict[int, list[int]] = {node: [] for node in nodes}
    for node, point in nodes.items():
        if point.parent != -1:
            children[point.parent].append(node)
        elif point.region != SOMA:
            raise DataError(
                f"{source}, line {point.line}: point {node} ({REGION_NAMES[point.region]}) has no parent; expected every "
                f"tree to hang on the soma. The tree is disconnected: give it a parent."
            )
    soma = _swc_soma(nodes, source)
    sections: list[tuple[Section, int]] = []
    section_of: dict[int, int] = {}
    for node, (region, parent, _, line) in nodes.items():
        if region not in (BASAL, APICAL):
            continue
        above = nodes[parent].region
        if above == region and len(children[parent]) == 1:
            continue  # inside a section begun further up
        chain = [node]
        while len(below := children[chain[-1]]) == 1 and nodes[below[0]].region == region:
            chain += below
        rows = np.array([nodes[item].xyzr for item in chain])
        if above != SOMA:
            if parent not in section_of:
                raise DataError(
                    f"{source}, line {line}: point {node} grows out of {REGION_NAMES[above]} point {parent}; "
                    f"expected one type per tree. Relabel it."
                )
            rows = np.vstack([np.append(nodes[parent].xyzr[:3], rows[0, 3]), rows])
        section_of |= dict.fromkeys(chain, len(sections))
        section = Section(region, section_of.get(parent, -1), rows[:, :3], rows[:, 3])
        sections.append((section, line))
    return assemble(source, soma, sections, name)


def _swc_nodes(text: str, source: str) -> dict[int, _Point]:
    """Points by number."""
    nodes: dict[int, _Point] = {}
    for line, content in enumerate(_lines(text), 1):
        fields = content.split("#", 1)[0].split()
        if not fields:
            continue
        try:
            node, region, *xyzr, parent = [float(field) for field in fields]
            row = np.array(xyzr)
            if len(row) != 4 or not all(number.is_integer() for number in (node, region, parent)):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{source}, line {line}: cannot read {content.strip()!r}; expected seven numbers "
                f"'index type x y z radius parent'. Correct the line."
            ) from None
        if int(node) in nodes:
            raise DataError(
                f"{source}, line {line}: point {int(node)} occurs twice; expected it once. Renumber it."
            )
        if int(parent) != -1 and int(parent) not in nodes:
            raise DataError(
                f"{source}, line {line}: point {int(node)} has parent {int(parent)}, which no earlier line defines; "
                f"expected parents before children. The part is disconnected: add or reorder the points."
            )
        if int(region) not in REGION_NAMES:
            raise DataError(
                f"{source}, line {line}: point {int(node)} has type {int(region)}; expected 1 soma, 2 axon, 3 basal or 4 "
                f"apical. Relabel it."
            )
        nodes[int(node)] = _Point(int(region), int(parent), row, line)
    return nodes


def _swc_soma(nodes: dict[int, _Point], source: str) -> tuple[np.ndarray, float, float]:
    """A cylinder with the length and area of the soma's points; a single point is a sphere."""
    soma = {node: point for node, point in nodes.items() if point.region == SOMA}
    if not soma:
        raise DataError(
            f"{source}: no soma; expected points of type 1. Add at least one with the soma's radius."
        )
    for node, point in soma.items():
        if not (np.isfinite(point.xyzr).all() and point.xyzr[3] > 0):
            raise DataError(
                f"{source}, line {point.line}: soma point {node} has radius {point.xyzr[3]:g}; expected a positive "
                f"radius. Correct it."
            )
    rows = np.array([point.xyzr for point in soma.values()])
    length = area = 0.0
    for point in soma.values():
        if point.parent in soma:
            end, begin = point.xyzr, soma[point.parent].xyzr
            step = float(np.linalg.norm(end[:3] - begin[:3]))
            length += step
            area += np.pi * (end[3] + begin[3]) * float(np.hypot(step, end[3] - begin[3]))
    if length == 0:
        radius = float(rows[0, 3])
        return rows[0, :3], 2 * radius, 2 * radius
    return rows[:, :3].mean(axis=0), length, area / (np.pi * length)


# Neurolucida ASC

# A semicolon begins a comment, except within quotes.
_TOKEN = re.compile(r'"[^"\n]*"|;[^\n]*|[()|<>]|[^\s()|<>;"]+')
_TREES = {"dendrite": BASAL, "apical": APICAL, "axon": AXON}


class _Node(list["_Node | str"]):
    """A parenthesised list and the line where it begins."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


def _from_asc(text: str, source: str, name: str) -> Morphology:
    contours: list[np.ndarray] = []
    sections: list[tuple[Section, int]] = []
    for item in _asc_lists(text, source):
        if not isinstance(item, _Node):
            continue
        labels = {part[0].lower() for part in item if _is_label(part) and isinstance(part[0], str)}
        if "cellbody" in labels:
            contours.append(np.array([_point(part, source) for part in item if _is_point(part)]))
        region = next((_TREES[label] for label in labels if label in _TREES), AXON)
        if region != AXON:
            _asc_tree(item, region, sections, source)
    if not any(len(contour) >= 3 for contour in contours):
        raise DataError(
            f"{source}: no soma; expected a (CellBody) contour of at least three points. Trace the soma or use an SWC "
            f"file with a soma point."
        )
    outline = max(
        contours, key=lambda contour: float(np.ptp(contour[:, :3], axis=0).max()) if len(contour) else 0.0
    )
    if not np.isfinite(outline).all():
        raise DataError(
            f"{source}: a point of the (CellBody) contour is not four finite numbers. Correct it."
        )
    return assemble(source, contour_soma(outline[:, :3]), sections, name)


def _asc_lists(text: str, source: str) -> _Node:
    stack = [_Node(1)]
    spine_line = 0
    for line, content in enumerate(_lines(text), 1):
        for token in _TOKEN.findall(content):
            if token[0] == ";":
                continue
            if token in "<>":
                spine_line = line if token == "<" else 0
            elif spine_line:
                continue  # spines carry no cable
            elif token == "(":
                stack.append(_Node(line))
            elif token == ")":
                if len(stack) == 1:
                    raise DataError(
                        f"{source}, line {line}: one ')' too many; expected balanced parentheses. Fix it."
                    )
                done = stack.pop()
                stack[-1].append(done)
            else:
                stack[-1].append(token)
    if len(stack) > 1 or spine_line:
        raise DataError(
            f"{source}: the file ends inside the part opened in line {spine_line or stack[-1].line}; expected balanced "
            f"parentheses. The file is cut short: get it again."
        )
    return stack[0]


def _is_label(part: "_Node | str") -> bool:
    return isinstance(part, _Node) and len(part) == 1 and isinstance(part[0], str)


def _is_point(part: "_Node | str") -> bool:
    return (
        isinstance(part, _Node)
        and len(part) >= 3
        and isinstance(part[0], str)
        and part[0][0] in "+-.0123456789"
    )


def _point(part: "_Node | str", source: str) -> list[float]:
    """A point as x, y, z, diameter."""
    try:
        values = [float(str(value)) for value in part[:4]] if len(part) >= 4 else [float("nan")] * 4
        if any(abs(value) > _LARGEST_UM for value in values):  # not of what is no number, which is met later
            raise ValueError
        return values
    except ValueError:
        line = part.line if isinstance(part, _Node) else 0
        raise DataError(
            f"{source}, line {line}: cannot read the point ({' '.join(map(str, part))}); expected x y z diameter. "
            f"Correct it."
        ) from None


def _asc_tree(tree: _Node, region: int, sections: list[tuple[Section, int]], source: str) -> None:
    """Append the sections of one tree in file order; branches that follow each other are apart by ``|``."""
    pending: list[tuple[list[_Node | str], int, int]] = [(list(tree), -1, tree.line)]
    while pending:
        items, parent, line = pending.pop()
        points = [_point(part, source) for part in items if _is_point(part)]
        rows = np.array(points).reshape(-1, 4)
        if parent >= 0 and not len(sections[parent][0].point_um):
            raise DataError(
                f"{source}, line {line}: a fork of a branch without points; expected some. Correct it."
            )
        if parent >= 0 and len(rows):
            rows = np.vstack([np.append(sections[parent][0].point_um[-1], rows[0, 3]), rows])
        index = len(sections)
        sections.append((Section(region, parent, rows[:, :3], rows[:, 3] / 2), line))
        branches: list[tuple[list[_Node | str], int, int]] = []
        for part in items:
            # A marker begins with a word, a fork with its first branch's first point or property.
            if isinstance(part, _Node) and part and isinstance(part[0], _Node):
                branch: list[_Node | str] = []
                for inner in [*part, "|"]:
                    if inner != "|":
                        branch.append(inner)
                    elif branch:
                        first = branch[0].line if isinstance(branch[0], _Node) else part.line
                        branches.append((branch, index, first))
                        branch = []
        pending.extend(reversed(branches))


def contour_soma(outline: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Centre, length and diameter (um) of a cylinder with the length and area of a traced soma.

    The outline is resampled at 101 even points and cut into 20 slices across its principal axis, between the second
    lowest and the second highest point; a slice is as wide as the outline, the two ends as their mean with their
    neighbours. NEURON's import makes the same soma.
    """
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    even = np.linspace(0, arc[-1], 101)
    points = np.stack([np.interp(even, arc, outline[:, axis]) for axis in range(3)], axis=1)
    centre = points.mean(axis=0)
    _, axes = np.linalg.eigh((points - centre).T @ (points - centre))
    axis = axes[:, 2] * np.sign(
        axes[np.abs(axes[:, 2]).argmax(), 2]
    )  # which end is first changes the last digits
    along, across = (points - centre) @ axis, (points - centre) @ axes[:, 1]
    first = int(along.argmin())
    along, across = np.roll(along, -first), np.roll(across, -first)
    turn = int(along.argmax())
    cuts = np.linspace(np.sort(along)[1], np.sort(along)[-2], 21)
    up = np.interp(cuts, along[: turn + 1], across[: turn + 1])
    down = np.interp(cuts, along[turn:][::-1], across[turn:][::-1])
    width = np.abs(up - down)
    width[0], width[-1] = width[:2].mean(), width[-2:].mean()
    step, length = np.diff(cuts), float(cuts[-1] - cuts[0])
    area = float((np.pi / 2 * (width[1:] + width[:-1]) * np.hypot(step, np.diff(width) / 2)).sum())
    return centre + axis * (cuts[0] + cuts[-1]) / 2, length, area / (np.pi * length)
