"""What stacks of neurons cost: the table of the page is that of the measurements."""

import json

import pytest
from conftest import REPOSITORY
from stack import _CASES, StackRow, measure, table


def test_the_page_has_the_measurements():
    found = json.loads((REPOSITORY / "benchmarks" / "results" / "stack-amd-epyc.json").read_text())
    rows = [StackRow(**{name: row[name] for name in StackRow._fields}) for row in found]
    assert {row.network for row in rows} == set(_CASES)
    assert table(rows) in (REPOSITORY / "docs" / "performance.md").read_text()


@pytest.mark.parametrize("case", _CASES)
def test_every_network_is_measured(case, capsys):
    measure(case, 40)
    microseconds, mebibytes = json.loads(capsys.readouterr().out)
    assert microseconds > 0
    assert mebibytes >= 0
