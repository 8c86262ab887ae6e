"""Tables of several trials below each other, as one table for each."""

import h5py
import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.files.containers import open_container
from ulmus.files.split_tables import SplitTables


def test_rows_go_to_their_trial_in_their_order(tmp_path):
    (tmp_path / "a.csv").write_text("sweep,v (mV)\n2,1\n10,2\n2,3\n10,4\n2,5\n10,6\n")
    found = SplitTables(open_container(tmp_path / "a.csv"), ["sweep"])
    assert list(found.entries) == ["2/v (mV)", "10/v (mV)"]
    assert (found.entry("10/v (mV)").shape, found.entry("10/v (mV)").unit) == ((3,), "mV")
    assert np.asarray(found.read("2/v (mV)")).tolist() == [1, 3, 5]
    assert np.asarray(found.read("/10/v (mV)", slice(1, None))).tolist() == [4, 6]


def test_a_trial_without_rows_in_one_table_has_empty_columns_there(tmp_path):
    (tmp_path / "soma.csv").write_text("sweep,v\n1,0\n1,1\n2,2\n2,3\n")
    (tmp_path / "spikes.csv").write_text("t,sweep\n5,2\n")
    found = SplitTables(open_container(tmp_path), ["sweep"])
    assert np.asarray(found.read("spikes/1/t")).tolist() == []
    assert np.asarray(found.read("spikes/2/t")).tolist() == [5]


def test_what_is_not_of_the_table_keeps_its_key(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cell/sweep"], file["cell/v"] = [0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0]
        file["cell/shared"], file["cell/inner/v"], file["rate"] = [1.0, 2.0], np.zeros(4), 5.0
    found = SplitTables(open_container(tmp_path / "a.h5"), ["sweep"])
    assert set(found.entries) == {"cell/0/v", "cell/1/v", "cell/shared", "cell/inner/v", "rate"}
    assert np.asarray(found.read("cell/1/v")).tolist() == [3, 4]
    assert np.asarray(found.read("cell/shared")).tolist() == [1, 2]
    assert found.bytes() == (tmp_path / "a.h5").stat().st_size


def test_a_slash_may_be_of_a_name_and_text_and_several_columns_name_trials(tmp_path):
    (tmp_path / "a.csv").write_text("cell,sweep no,U/mV\nb,1,1\na,1,2\nb,1,3\nb,2,4\n")
    found = SplitTables(open_container(tmp_path / "a.csv"), ["cell", "sweep no"])
    assert list(found.entries) == ["a_1/U/mV", "b_1/U/mV", "b_2/U/mV"]
    assert np.asarray(found.read("b_1/U/mV")).tolist() == [1, 3]
    assert [found.scattered(key) for key in found.entries] == [False, True, False]
    with pytest.raises(DataError, match=r"U/mV is of all trials.* expected '\{trial\}/U/mV'"):
        found.read("U/mV")


def test_names_that_python_takes_for_numbers_stay_names(tmp_path):
    (tmp_path / "a.csv").write_text("sweep,v\n1_11,1\n11_1,2\n2024_01_05,3\n")
    found = SplitTables(open_container(tmp_path / "a.csv"), ["sweep"])
    assert list(found.entries) == ["11_1/v", "1_11/v", "2024_01_05/v"]
    np.savez(tmp_path / "a.npz", sweep=np.array([b"caf\xc3\xa9", b"x"]), v=[1.0, 2.0], w=[1.0, 2.0, 3.0])
    found = SplitTables(open_container(tmp_path / "a.npz"), ["sweep"])
    assert set(found.entries) == {"caf\u00e9/v", "x/v", "w"}
    with pytest.raises(DataError, match=r"w has the shape \(3,\), and 2 rows name a trial; expected as many"):
        found.read("{trial}/w")
    np.savez(tmp_path / "a.npz", sweep=np.array([b"caf\xe9", b"x"]), v=[1.0, 2.0])
    with pytest.raises(DataError, match=r"sweep cannot be read .*expected text in UTF-8"):
        SplitTables(open_container(tmp_path / "a.npz"), ["sweep"])


def test_trials_that_would_be_one_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("cell,sweep,v\na_b,c,1\na,b_c,2\n")
    with pytest.raises(DataError, match="cell, sweep two trials have the same name, such as 'a_b_c'"):
        SplitTables(open_container(tmp_path / "a.csv"), ["cell", "sweep"])


def test_a_table_without_a_row_has_empty_columns(tmp_path):
    (tmp_path / "soma.csv").write_text("sweep,v\n1,0\n1,1\n")
    (tmp_path / "spikes.csv").write_text("sweep,t\n")
    found = SplitTables(open_container(tmp_path), ["sweep"])
    assert np.asarray(found.read("spikes/1/t")).tolist() == []
    assert found.names == {"soma/": ["1"], "spikes/": []}


def test_columns_as_matlab_writes_them(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["sweep"], file["v"], file["pairs"] = (
            np.array([[1], [1], [2]]),
            np.array([[5, 6, 7]]),
            np.zeros((3, 2)),
        )
    found = SplitTables(open_container(tmp_path / "a.mat"), ["sweep"])
    assert list(found.entries) == ["pairs", "1/v", "2/v"]
    assert np.asarray(found.read("1/v")).tolist() == [5, 6]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("swep", r"no table with the column 'swep' .* expected some of sweep, half.* 'sweep'"),
        ("half", r"half holds 0\.5 in row 1; expected the trial of every row"),
        ("gap", r"gap holds nan in row 2; expected the trial of every row"),
        ("place", r"place holds 'x/y' in row 0; expected the trial of every row"),
    ],
)
def test_a_column_that_names_no_trials(tmp_path, column, message):
    rows = ["1,0,1,x/y", "1,0.5,1,b", "1,1,nan,c", "2,1,1,d", "2,1,1,e", "2,1,1,f"]
    (tmp_path / "a.csv").write_text("\n".join(["sweep,half,gap,place", *rows]))
    with pytest.raises(DataError, match=message):
        SplitTables(open_container(tmp_path / "a.csv"), [column])
