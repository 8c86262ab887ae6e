"""Tables of several trials below each other, as one table for each."""

import h5py
import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.files.containers import open_container
from ulmus.files.split_tables import SplitTables


def test_rows_go_to_their_trial_in_their_order(tmp_path):
    (tmp_path / "a.csv").write_text("sweep,v (mV)\n2,1\n10,2\n2,3\n10,4\n2,5\n10,6\n")
    found = SplitTables(open_container(tmp_path / "a.csv"), "sweep")
    assert list(found.entries) == ["2/v (mV)", "10/v (mV)"]
    assert (found.entry("10/v (mV)").shape, found.entry("10/v (mV)").unit) == ((3,), "mV")
    assert np.asarray(found.read("2/v (mV)")).tolist() == [1, 3, 5]
    assert np.asarray(found.read("/10/v (mV)", slice(1, None))).tolist() == [4, 6]


def test_a_trial_without_rows_in_one_table_has_empty_columns_there(tmp_path):
    (tmp_path / "soma.csv").write_text("sweep,v\n1,0\n1,1\n2,2\n2,3\n")
    (tmp_path / "spikes.csv").write_text("t,sweep\n5,2\n")
    found = SplitTables(open_container(tmp_path), "sweep")
    assert np.asarray(found.read("spikes/1/t")).tolist() == []
    assert np.asarray(found.read("spikes/2/t")).tolist() == [5]


def test_what_is_not_of_the_table_keeps_its_key(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cell/sweep"], file["cell/v"] = [0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0]
        file["cell/shared"], file["cell/inner/v"], file["rate"] = [1.0, 2.0], np.zeros(4), 5.0
    found = SplitTables(open_container(tmp_path / "a.h5"), "sweep")
    assert set(found.entries) == {"cell/0/v", "cell/1/v", "cell/shared", "cell/inner/v", "rate"}
    assert np.asarray(found.read("cell/1/v")).tolist() == [3, 4]
    assert np.asarray(found.read("cell/shared")).tolist() == [1, 2]
    assert found.bytes() == (tmp_path / "a.h5").stat().st_size


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("swep", r"no column 'swep' .* expected one of sweep, time, half.* 'sweep'"),
        ("time", r"time names 6 trials in 6 rows; expected many rows of each; correct `trial_column`"),
        ("half", r"half holds 0\.5 in row 1; expected whole numbers"),
        ("gap", r"gap holds nan in row 2; expected whole numbers"),
        ("text", r"text cannot be read"),
    ],
)
def test_a_column_that_names_no_trials(tmp_path, column, message):
    rows = ["1,0,0,1,a", "1,1,0.5,1,a", "1,2,1,nan,a", "2,3,1,1,a", "2,4,1,1,a", "2,5,1,1,a"]
    (tmp_path / "a.csv").write_text("\n".join(["sweep,time,half,gap,text", *rows]))
    with pytest.raises(DataError, match=message):
        SplitTables(open_container(tmp_path / "a.csv"), column)
