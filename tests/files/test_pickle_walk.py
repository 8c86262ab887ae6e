"""What a pickle makes its reader reserve is known before it is read."""

import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmus.errors import DataError
from ulmus.files.pickle_walk import check_pickle
from ulmus.files.restricted_pickle import read_pickle

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@settings(deadline=None, max_examples=100)
@given(VALUES, st.integers(0, 5))
def test_it_ends_where_the_content_ends(value, protocol):
    data = pickle.dumps(value, protocol)
    assert check_pickle(data + b"more") == len(data)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_it_agrees_with_the_standard_library_on_any_bytes(data):
    try:
        end = next(place for operation, _, place in pickletools.genops(data) if operation.name == "STOP") + 1
    except Exception:
        return  # the library reads arguments more strictly than a walk has to
    places = [value for operation, value, _ in pickletools.genops(data) if "PUT" in operation.name]
    if max(places, default=0) <= len(data):
        assert check_pickle(data) == end


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x0f.", "far beyond its own length"),
        (b"Np99999999999999999999\n.", "far beyond its own length"),
        (b"\x80\x05\x8e" + b"\xff" * 7 + b"\x00abc.", "longer than itself"),
        (b"\x80\x05\x8e" + b"\xff" * 8 + b"abc.", "longer than itself"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "longer than itself"),
        (b"\x80\x02]", "ends before"),
        (b"\xff", "no operation"),
    ],
)
def test_small_files_that_ask_for_much_are_refused(tmp_path, content, message):
    (tmp_path / "a.p").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pickle(tmp_path / "a.p")


def test_arrays_of_every_protocol_are_read(tmp_path):
    for protocol in range(6):
        for array in (
            np.arange(6.0).reshape(2, 3),
            np.arange(6, dtype=np.int16).reshape(2, 3).T,
            np.float32(2.5),
        ):
            (tmp_path / "a.p").write_bytes(pickle.dumps({"v": array}, protocol))
            found = read_pickle(tmp_path / "a.p")["v"]
            np.testing.assert_array_equal(getattr(found, "values", found), array)


def test_a_compressed_file_of_any_size_is_refused(tmp_path):
    import gzip

    (tmp_path / "a.p.gz").write_bytes(gzip.compress(pickle.dumps(bytes(300_000_000)), 1))
    with pytest.raises(DataError, match="expected at most 256 MB"):
        read_pickle(tmp_path / "a.p.gz")
