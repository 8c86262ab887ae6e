"""Digits over the length of a step: the page has the table of the measurements."""

import json

import pytest
from conftest import REPOSITORY
from digit_bins import Cell, table

measurements = pytest.mark.parametrize("name", ["digit-bins", "digit-bins-longer", "digit-bins-voices"])


def cells(name):
    rows = json.loads((REPOSITORY / "benchmarks" / "results" / f"{name}.json").read_text())
    return [Cell(**{field: row[field] for field in Cell._fields}) for row in rows]


@measurements
def test_the_page_has_the_measurements(name):
    assert table(cells(name)) in (REPOSITORY / "docs" / "spoken-digits.md").read_text()


@measurements
def test_the_rate_is_the_best_on_validation(name):
    for cell in cells(name):
        assert max(cell.validation, key=cell.validation.get) == f"{cell.rate:g}"
        assert len(cell.test) == 2
