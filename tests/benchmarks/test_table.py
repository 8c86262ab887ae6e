import json

import pytest
from conftest import REPOSITORY
from table import read_rows, table

from ulmus.bench import WORKLOADS
from ulmus.cli import main
from ulmus.errors import DataError


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def test_written_rows_become_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(WORKLOADS, "C", WORKLOADS["C"]._replace(batch=2, time=5))
    file = tmp_path / "rows.json"
    assert exit_code("bench", "train", "C", "--out", file) == 0
    rows = json.loads(file.read_text())
    needed = {
        "workload",
        "implementation",
        "direction",
        "cpu_seconds",
        "ratio_to_plain_loop",
        "fraction_of_peak",
    }
    assert all(needed | {"processor"} <= set(row) for row in rows)
    assert all(isinstance(row["processor"], str) and row["processor"] for row in rows)
    for row in rows:
        row |= {"ratio_to_plain_loop": 4.24, "fraction_of_peak": 0.5}
    other = [row | {"processor": "another", "ratio_to_plain_loop": 21.6} for row in rows]
    file.write_text(json.dumps(rows + other))
    printed = table(read_rows([file])).splitlines()
    assert printed[0] == f"| | workload | {rows[0]['processor']} | another |"
    assert len(printed) == 3
    assert "events 4.2 (50 %), bytes 4.2 (50 %), dense 4.2 (50 %) | events 22 (50 %)" in printed[2]


@pytest.mark.parametrize("page", ["performance.md", "results.md"])
def test_the_pages_have_the_measurements(page):
    measured = table(
        read_rows([REPOSITORY / "benchmarks" / "results" / "kernels-amd-epyc.json"])
    ).splitlines()[2:]
    text = (REPOSITORY / "docs" / page).read_text()
    found = 0
    for *_, workload, cell, _ in (line.split("|") for line in measured):
        for line in text.splitlines():
            if workload in (cells := line.split("|")):
                shown = cells[cells.index(workload) + 1].strip()
                assert set(shown.split(", ")) <= set(cell.strip().split(", ")), line
                found += 1
    assert found >= 8


@pytest.mark.parametrize("text", ["", "{}", '[{"workload": "A"}]', None])
def test_what_is_no_measurement_is_refused(text, tmp_path):
    file = tmp_path / "rows.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match="ulmus bench kernels"):
        read_rows([file])
