import lzma
import math
import pickle

import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.teachers.morphology import APICAL, AXON, BASAL, SOMA
from ulmus.teachers.morphology_files import contour_soma, load_morphology

SWC = """# a toy pyramidal cell
1 1 0 0 0 8 -1
2 3 0 -8 0 1 1
3 3 0 -58 0 1 2
4 3 30 -98 0 0.5 3
5 3 -30 -98 0 0.5 3
6 4 0 8 0 2 1
7 4 0 108 0 1 6
8 2 0 0 8 1 1
9 2 0 0 50 0 8
"""

ASC = """; the same cell, traced
(ImageCoords)
("CellBody" (Color Red) (CellBody) (-8 -5 0 0.1) (0 -8 0 0.1) (8 -5 0 0.1) (8 5 0 0.1) (0 8 0 0.1) (-8 5 0 0.1))
( (Color Blue) (Dendrite)
  (0 -8 0 2 S1) ; root
  (0 -58 0 2)
  (Cross (Name "Marker 3") (5 5 5 0.1))
  <(1 2 3 0.1)>
  ( (30 -98 0 1) Normal
  | (-30 -98 0 1) Incomplete
  )
)
( (Apical) (0 8 0 4) (0 108 0 2) High )
( (Axon) (0 0 8 0) )
"""


def _write(folder, text, name="toy.swc"):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(("text", "name"), [(SWC, "toy.swc"), (ASC, "toy.asc")])
def test_both_formats_give_the_lengths_areas_and_order_of_a_toy_cell(tmp_path, text, name):
    cell = load_morphology(_write(tmp_path, text, name))
    assert [section.region for section in cell.sections] == [BASAL, BASAL, BASAL, APICAL]
    assert [section.parent for section in cell.sections] == [-1, 0, 0, -1]
    assert [section.length_um for section in cell.sections] == pytest.approx([50, 50, 50, 100])
    assert [section.compartments for section in cell.sections] == [3, 3, 3, 5]
    compartments = cell.compartments
    # A branch starts with its own first diameter: both daughters are cylinders of radius 0.5.
    basal = 2 * math.pi * (1.0 * 50 + 0.5 * 50 + 0.5 * 50)
    apical = math.pi * (2 + 1) * math.hypot(100, 1)
    assert compartments.area_um2[compartments.region == BASAL].sum() == pytest.approx(basal)
    assert compartments.area_um2[compartments.region == APICAL].sum() == pytest.approx(apical)
    fifth = math.pi * (1.2 + 1.0) * math.hypot(20, 0.2)  # the tip of the cone
    assert compartments.area_um2[-1] == pytest.approx(fifth)
    assert cell.segments == 14
    assert cell.segment_length_um.sum() == pytest.approx(250)
    half = cell.soma_length_um / 2
    assert cell.segment_distance_um[:4] == pytest.approx(half + np.array([50 / 6, 25, 250 / 6, 50 + 50 / 6]))
    assert cell.apical_length_um == pytest.approx(100)


def test_a_single_soma_point_is_a_sphere(tmp_path):
    cell = load_morphology(_write(tmp_path, SWC))
    compartments = cell.compartments
    assert compartments.area_um2[compartments.region == SOMA] == pytest.approx(4 * math.pi * 64)
    assert compartments.area_um2[compartments.region == AXON] == pytest.approx([math.pi * 30] * 2)


def test_the_soma_of_a_circular_contour_is_nearly_a_sphere():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    outline = np.stack([3 + 10 * np.cos(angle), 10 * np.sin(angle), np.zeros(200)], axis=1)
    centre, length, diameter = contour_soma(outline)
    assert centre == pytest.approx([3, 0, 0], abs=0.2)
    assert length == pytest.approx(20, rel=0.01)
    assert math.pi * length * diameter == pytest.approx(4 * math.pi * 100, rel=0.03)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("toy.swc", "4 3 30 -98 0 0.5 3", "4 3 30 -98 0 0 3", r"line 5, basal section 1: diameter 0 um"),
        (
            "toy.swc",
            "6 4 0 8 0 2 1",
            "6 4 0 8 0 2 -1",
            r"line 7: point 6 \(apical\) has no parent.*disconnected",
        ),
        ("toy.swc", "3 3 0 -58 0 1 2", "3 3 0 -58 0 1 77", r"line 4: point 3 has parent 77.*disconnected"),
        (
            "toy.swc",
            "2 3 0 -8 0 1 1",
            "2 3 0 -800 0 1 1",
            r"line 3, basal section 0: the stem begins 792 um away",
        ),
        ("toy.swc", "1 1 0 0 0 8 -1", "1 3 0 0 0 8 -1", r"has no parent"),
        ("toy.swc", "1 1 0 0 0 8 -1", "1 1 0 0 0 -8 -1", r"line 2: soma point 1 has radius -8"),
        ("toy.swc", "7 4 0 108 0 1 6", "7 9 0 108 0 1 6", r"line 8: point 7 has type 9"),
        ("toy.swc", "7 4 0 108 0 1 6", "7 4 0 108 zero 1 6", r"line 8: cannot read '7 4 0 108 zero 1 6'"),
        (
            "toy.swc",
            "7 4 0 108 0 1 6",
            "7 4 0 nan 0 1 6",
            r"line 7, apical section 3: .* not a finite number",
        ),
        ("toy.swc", "7 4 0 108 0 1 6", "6 4 0 108 0 1 6", r"line 8: point 6 occurs twice"),
        (
            "toy.swc",
            "5 3 -30",
            "5 4 -30",
            r"line 6, apical section 2: it grows out of a section of type basal",
        ),
        ("toy.swc", " 4 0 ", " 3 0 ", r"no apical dendrite"),
        ("toy.asc", "(30 -98 0 1)", "(30 -98 0 0)", r"line 9, basal section 1: diameter 0 um"),
        ("toy.asc", "(0 -58 0 2)", "(0 -5x8 0 2)", r"line 6: cannot read the point \(0 -5x8 0 2\)"),
        ("toy.asc", "(CellBody)", "(Blob)", r"no soma; expected a \(CellBody\)"),
        ("toy.asc", "(Apical)", "(Axon)", r"no apical dendrite"),
        ("toy.asc", "( (Axon) (0 0 8 0) )", "( (Axon) (0 0 8 0)", r"ends inside the part opened in line 14"),
        ("toy.asc", "( (Axon) (0 0 8 0) )", "( (Axon) (0 0 8 0) ))", r"line 14: one '\)' too many"),
        (
            "toy.asc",
            "(0 8 0 4) (0 108 0 2)",
            "(0 108 0 2)",
            r"line 13, apical section 3: the section has no length",
        ),
    ],
)
def test_a_damaged_file_is_refused_with_file_line_and_section(tmp_path, name, old, new, message):
    text = SWC if name.endswith("swc") else ASC
    assert old in text
    with pytest.raises(DataError, match=message) as error:
        load_morphology(_write(tmp_path, text.replace(old, new), name))
    assert name in str(error.value)


def test_missing_and_unknown_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone\.swc: cannot read"):
        load_morphology(tmp_path / "gone.swc")
    with pytest.raises(DataError, match=r"unknown kind of morphology file '\.obj'"):
        load_morphology(_write(tmp_path, SWC, "toy.obj"))


def test_the_shipped_cell_is_a_whole_pyramidal_cell():
    cell = load_morphology()
    assert cell.name == "C060114A7"
    assert (len(cell.sections), cell.segments) == (195, 697)
    compartments = cell.compartments
    lengths = [compartments.length_um[compartments.region == region].sum() for region in (BASAL, APICAL)]
    areas = [compartments.area_um2[compartments.region == region].sum() for region in (BASAL, APICAL)]
    assert lengths == pytest.approx([4175.64, 9821.98], abs=0.01)
    assert areas == pytest.approx([9782.46, 30920.38], abs=0.01)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["cell1.asc", "cell1_as_imported.swc"])
def test_the_published_cell_has_the_published_geometry(reference_data, name):
    folder = reference_data / "golden" / "l5pc"
    cell = load_morphology(folder / name)
    compartments = cell.compartments
    assert (len(cell.sections), cell.segments, len(compartments.region)) == (193, 639, 642)
    counts = np.unique([section.compartments for section in cell.sections], return_counts=True)
    assert dict(zip(*map(np.ndarray.tolist, counts), strict=True)) == {
        1: 92,
        3: 37,
        5: 29,
        7: 19,
        9: 11,
        11: 3,
        13: 2,
    }
    areas = [
        compartments.area_um2[compartments.region == region].sum() for region in (SOMA, AXON, BASAL, APICAL)
    ]
    assert areas == pytest.approx([1131.4, 188.5, 8863.0, 21009.3], abs=0.06)
    lengths = [
        compartments.length_um[compartments.region == region].sum() for region in (SOMA, BASAL, APICAL)
    ]
    assert lengths == pytest.approx([23.17, 5133.5, 7440.9], abs=0.05)
    assert cell.apical_length_um == pytest.approx(1300.5335, abs=1e-3)
    assert sum(section.parent < 0 for section in cell.sections) == 9
    with lzma.open(next(folder.glob("sim__*.p.xz"))) as file:
        published = pickle.load(file, encoding="latin1")["Params"]  # a file of ours
    assert cell.segment_length_um == pytest.approx(np.array(published["allSegmentsLength"]), abs=2e-4)
    assert cell.segment_distance_um == pytest.approx(
        np.array(published["allSegments_DistFromSoma"]), abs=2e-4
    )


def test_a_semicolon_in_quotes_begins_no_comment(tmp_path):
    text = ASC.replace("(ImageCoords)", '(ImageCoords Filename "C:\\data;old\\img (1).jpg")')
    assert len(load_morphology(_write(tmp_path, text, "toy.asc")).sections) == 4


@pytest.mark.parametrize(
    "comment", ["\ufeff# made elsewhere", "# page\fbreak", "# one\u2028line", "# one\x85line"]
)
def test_marks_of_editors_in_comments_change_nothing(tmp_path, comment):
    (tmp_path / "toy.swc").write_text(f"{comment}\r\n{SWC}", encoding="utf-8")
    assert load_morphology(tmp_path / "toy.swc").segments == 14


@pytest.mark.parametrize(("factor", "unit"), [(1e-6, "metres"), (1e-3, "millimetres"), (1e3, "nanometres")])
def test_another_unit_is_named(tmp_path, factor, unit):
    rows = [line.split() for line in SWC.splitlines() if not line.startswith("#")]
    text = "\n".join(
        " ".join([*row[:2], *(repr(float(value) * factor) for value in row[2:6]), row[6]]) for row in rows
    )
    with pytest.raises(DataError, match=f"expected micrometres.*look like {unit}"):
        load_morphology(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("toy.swc", "7 4 0 108 0 1 6", "7 inf 0 108 0 1 6", "line 8: cannot read"),
        ("toy.swc", "7 4 0 108 0 1 6", "7 4 0 108 0 1 1e999", "line 8: cannot read"),
        ("toy.asc", "(-8 5 0 0.1)", "(-8 nan 0 0.1)", "a point of the .CellBody. contour is not"),
        ("toy.asc", "(-8 5 0 0.1)", "(-8 5 0)", "a point of the .CellBody. contour is not"),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path, name, old, new, message):
    text = SWC if name.endswith("swc") else ASC
    with pytest.raises(DataError, match=message):
        load_morphology(_write(tmp_path, text.replace(old, new), name))
