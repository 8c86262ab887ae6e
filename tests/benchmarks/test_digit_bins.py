"""Digits over the length of a step: the page has the table of the measurements."""

import json

from conftest import REPOSITORY
from digit_bins import Cell, table

RESULTS = REPOSITORY / "benchmarks" / "results" / "digit-bins.json"


def cells():
    return [Cell(**{name: row[name] for name in Cell._fields}) for row in json.loads(RESULTS.read_text())]


def test_the_page_has_the_measurements():
    assert table(cells()) in (REPOSITORY / "docs" / "spoken-digits.md").read_text()


def test_the_rate_is_the_best_on_validation():
    for cell in cells():
        assert max(cell.validation, key=cell.validation.get) == f"{cell.rate:g}"
        assert len(cell.test) == 2
