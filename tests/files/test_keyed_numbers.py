"""NPZ archives and CSV columns as they lie on people's disks."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.files.containers import open_container
from ulmus.files.split_tables import SplitTables


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_an_archive_is_read_key_by_key(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.npy", npy(np.arange(5.0)))
        archive.writestr(
            "huge.npy", npy(np.zeros(40_000_000))
        )  # zeros: a thousandth of its size in the archive
        archive.writestr("README.txt", "no array")
        archive.writestr("objects.npy", _objects())
    found = open_container(path)
    assert list(found.entries) == ["v", "huge", "objects"]
    assert found.entries["huge"].shape == (40_000_000,)
    assert np.asarray(found.read("v", slice(1, 3))).tolist() == [1.0, 2.0]
    with pytest.raises(DataError, match="huge declares 320 MB in"):
        found.read("huge")
    with pytest.raises(DataError, match="objects.*Python objects, which could run code"):
        found.read("objects")


def _objects():
    file = io.BytesIO()
    np.save(file, np.array([None, "text"], dtype=object), allow_pickle=True)
    return file.getvalue()


def test_an_array_under_the_name_of_an_archive(tmp_path):
    (tmp_path / "a.npz").write_bytes(npy(np.arange(3)))
    with pytest.raises(DataError, match=r"one array \(\.npy\).*numpy\.savez"):
        open_container(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"(5,)", b"(9,)"), "declares shape"),
        (lambda data: data.replace(b"(5,), ", b"(-5,),"), "declares shape"),
        (lambda data: data.replace(b"'<f8'", b"'<q9'"), "cannot be read"),
        (lambda data: data.replace(b"NUMPY\x01", b"NUMPY\x07"), "version"),
        (lambda data: data.replace(b"'shape': (5,), ", b"'shape': 9**9**9"), "cannot be read"),
        (lambda data: b"text", "cannot be read"),
    ],
    ids=["long", "negative", "type", "version", "expression", "text"],
)
def test_a_damaged_array_is_named_and_the_others_are_read(tmp_path, change, message):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("good.npy", npy(np.arange(3)))
        archive.writestr("bad.npy", change(npy(np.arange(5.0))))
    found = open_container(tmp_path / "a.npz")
    assert np.asarray(found.read("good")).tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=f"a.npz: bad.*{message}"):
        found.read("bad")


def test_encrypted_and_unknown_members_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("v.npy", npy(np.arange(3)))
    plain = (tmp_path / "a.npz").read_bytes()
    directory = plain.index(b"PK\x01\x02")
    for offset, value in ((8, 1), (10, 99)):  # flag of encryption, number of the compression
        content = bytearray(plain)
        struct.pack_into("<H", content, directory + offset, value)
        struct.pack_into("<H", content, offset - 2, value)
        (tmp_path / "a.npz").write_bytes(content)
        found = open_container(tmp_path / "a.npz")
        with pytest.raises(DataError, match=r"a\.npz: v"):
            found.read("v")


@pytest.mark.parametrize(
    "text",
    [
        ",t,e1\n0,1,5\n1,2,6\n",
        "t,e1,\n1,5,\n2,6,\n",
        "\ufeff# a comment\n\nt;e1\n1;5\n2;6\n",
    ],
    ids=["pandas", "trailing", "mark"],
)
def test_columns_by_name(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    found = open_container(tmp_path / "a.csv")
    assert list(found.entries) == ["t", "e1"]
    assert np.asarray(found.read("e1")).tolist() == [5.0, 6.0]


def test_tabs_separate_too(tmp_path):
    (tmp_path / "a.tsv").write_text("t\tv\n1\t2,5\n")
    found = open_container(tmp_path / "a.tsv")
    assert np.asarray(found.read("t")).tolist() == [1]


def test_packed_tables_and_folders_of_them(tmp_path):
    with gzip.open(tmp_path / "spikes.tsv.gz", "wt") as file:
        file.write("t (ms)\tcell\n1\t2.5\n")
    (tmp_path / "SOMA.CSV").write_text("v\r\n-70\r\n-69\r\n")
    (tmp_path / "notes.txt").write_text("t\n1\n")
    found = open_container(tmp_path)
    assert set(found.entries) == {"spikes/t (ms)", "spikes/cell", "SOMA/v"}
    assert found.entry("spikes/t (ms)").unit == "ms"
    assert np.asarray(found.read("spikes/cell")).tolist() == [2.5]
    assert np.asarray(found.read("SOMA/v")).tolist() == [-70, -69]
    (tmp_path / "spikes.csv").write_text("t\n1\n")  # of which the other one may be a packed copy
    assert set(open_container(tmp_path).entries) == {"spikes/t", "SOMA/v"}


def test_packed_tables_that_are_damaged_or_hold_too_much_are_refused(tmp_path, monkeypatch):
    text = gzip.compress(b"v\n" + b"0\n" * 2_000_000)
    (tmp_path / "a.csv.gz").write_bytes(text)
    assert len(np.asarray(open_container(tmp_path / "a.csv.gz").read("v"))) == 2_000_000
    (tmp_path / "b.csv.gz").write_bytes(text[:-1000])
    with pytest.raises(DataError, match=r"b\.csv\.gz cannot be read \("):
        open_container(tmp_path / "b.csv.gz")
    monkeypatch.setenv("ULMUS_UNPACKED_MB", "1")
    with pytest.raises(DataError, match=r"a\.csv\.gz declares .* set ULMUS_UNPACKED_MB="):
        open_container(tmp_path / "a.csv.gz")


def test_columns_of_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "sweep": pyarrow.array(["a", "b", "b"]).dictionary_encode(),
        "U/mV": [1.5, None, 3.0],
        "t (ms)": pyarrow.array([1, 2, None], pyarrow.int32()),
        "spikes": [[1.0, 2.5], [], None],
        "__index_level_0__": [0, 1, 2],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    found = open_container(tmp_path / "a.parquet")
    assert list(found.entries) == ["sweep", "U/mV", "t (ms)", "spikes"]
    assert found.entry("t (ms)").unit == "ms"
    np.testing.assert_array_equal(found.read("t (ms)"), [1, 2, np.nan])
    assert [part.tolist() for part in found.read("spikes")] == [[1.0, 2.5], [], []]
    with pytest.raises(DataError, match="sweep holds <U1; expected numbers"):
        found.read("sweep")
    split = SplitTables(found, ["sweep"])
    np.testing.assert_array_equal(split.read("b/U/mV"), [np.nan, 3])
    (tmp_path / "b.parquet").write_text("v\n1\n")
    with pytest.raises(DataError, match=r"b\.parquet cannot be read .*; expected a file of format parquet"):
        open_container(tmp_path / "b.parquet")


def test_what_pandas_and_r_write_where_a_number_is_missing_is_nan(tmp_path):
    (tmp_path / "a.csv").write_text('t,v\n1,\n2,NA\n3,""\n4,4.5\n5,nan\n')
    found = open_container(tmp_path / "a.csv")
    np.testing.assert_array_equal(found.read("v"), [np.nan, np.nan, np.nan, 4.5, np.nan])
    np.testing.assert_array_equal(found.read("t"), [1, 2, 3, 4, 5])
    (tmp_path / "a.csv").write_text("t,v\n1,5 # first, of many\n2,1_0\n")
    found = open_container(tmp_path / "a.csv")
    assert list(found.entries) == ["t", "v"]
    with pytest.raises(DataError, match="v cannot be read"):  # Python reads 10
        found.read("v")
    (tmp_path / "a.csv").write_text("t;v\n1;2,5\n")
    with pytest.raises(DataError, match="v has decimal commas; expected points"):
        open_container(tmp_path / "a.csv").read("v")


@pytest.mark.parametrize(
    "text", ['"t"\n"1",5\n"2",6\n', '"t" "e1"\n', "t,e1\n1,5,\n2,6,\n", "t;e1\nx;1;5\ny;2;6\n"]
)
def test_rows_of_r_have_a_name_that_the_header_leaves_out(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    found = open_container(tmp_path / "a.csv")
    last = list(found.entries)[-1]
    assert np.asarray(found.read(last)).tolist() == ([5.0, 6.0] if "5" in text else [])


def test_columns_that_cannot_be_told_apart_or_read(tmp_path):
    for content, message in [
        (b"t,v,t\n1,2,3\n", "2 columns called 't'"),
        (b"1,2\n3,4\n", "names of columns"),
        (b"t,v\n1,2,3,4\n", "2 names of columns and 4 values"),
        (b"v,i\n-70,1,0\n", "2 names of columns and 3 values"),
        (b"v\n-70,0\n", "1 names of columns and 2 values .* decimal points"),
        (b"", "is empty"),
        (b"t,\xff\n1,2\n", "cannot be read"),
        (b"t" * 3_000_000, "cannot be read"),
    ]:
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_container(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("t,v\n1,x\n")
    with pytest.raises(DataError, match=r"a\.csv: v cannot be read"):
        open_container(tmp_path / "a.csv").read("v")


def test_files_that_macos_leaves_are_no_data(tmp_path):
    (tmp_path / "events.csv").write_text("t\n1\n")
    (tmp_path / "._events.csv").write_bytes(b"\x00\x05\x16\x07")
    assert list(open_container(tmp_path).entries) == ["events/t"]
