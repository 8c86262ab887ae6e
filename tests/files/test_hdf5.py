"""HDF5 from strangers: links, storage elsewhere, sizes that are only declared, damage."""

from contextlib import suppress

import h5py
import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.files.containers import open_container
from ulmus.files.hdf5 import Hdf5
from ulmus.files.limits import VARIABLE

VALUES = np.arange(7.0)


@pytest.fixture
def secret(tmp_path):
    """A file that lies outside of the folder of the data."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["v"] = VALUES
    (tmp_path / "secret.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "data").mkdir()
    return path


@pytest.fixture
def path(secret):
    return secret.parent / "data" / "a.h5"


def test_links_within_a_file_are_followed_and_listed(path):
    with h5py.File(path, "w") as file:
        file["shared/time"] = VALUES
        file["a/time"] = h5py.SoftLink("/shared/time")
        file["a/near"] = h5py.SoftLink("time")
        file["b"] = h5py.SoftLink("/a")
        file["hard"] = file["shared/time"]
    found = open_container(path)
    assert set(found.entries) == {"shared/time", "a/time", "a/near", "b/time", "b/near", "hard"}
    for key in found.entries:
        np.testing.assert_array_equal(found.read(key), VALUES)


def test_links_to_files_of_the_same_folder_are_followed(path):
    (path.parent / "below").mkdir()
    for name in ("b.h5", "below/c.h5"):
        with h5py.File(path.parent / name, "w") as file:
            file["g/v"] = VALUES
    with h5py.File(path, "w") as file:
        file["b"] = h5py.ExternalLink("b.h5", "/g/v")
        file["c"] = h5py.ExternalLink("below/c.h5", "/g")
    found = open_container(path)
    np.testing.assert_array_equal(found.read("b"), VALUES)
    np.testing.assert_array_equal(found.read("c/v"), VALUES)


def _external(file, secret):
    file["v"] = h5py.ExternalLink("../secret.h5", "/v")


def _absolute(file, secret):
    file["v"] = h5py.ExternalLink(str(secret), "/v")


def _through_a_soft_link(file, secret):
    file["there"] = h5py.ExternalLink("../secret.h5", "/")
    file["v"] = h5py.SoftLink("/there/v")


def _through_another_file(file, secret):
    with h5py.File(secret.parent / "data" / "b.h5", "w") as other:
        other["v"] = h5py.ExternalLink("../secret.h5", "/v")
    file["v"] = h5py.ExternalLink("b.h5", "/v")


def _through_a_link_of_the_file_system(file, secret):
    (secret.parent / "data" / "b.h5").symlink_to(secret)
    file["v"] = h5py.ExternalLink("b.h5", "/v")


def _storage(file, secret):
    file.create_dataset("v", (7,), "f8", external=[(str(secret.with_suffix(".bin")), 0, 56)])


def _virtual(file, secret):
    layout = h5py.VirtualLayout((7,), "f8")
    layout[:] = h5py.VirtualSource("../secret.h5", "v", (7,))
    file.create_virtual_dataset("v", layout)


def _virtual_of_storage(file, secret):
    _storage(file, secret)
    file.move("v", "hidden")
    layout = h5py.VirtualLayout((7,), "f8")
    layout[:] = h5py.VirtualSource(".", "hidden", (7,))
    file.create_virtual_dataset("v", layout)


@pytest.mark.parametrize(
    "write",
    [
        _external,
        _absolute,
        _through_a_soft_link,
        _through_another_file,
        _through_a_link_of_the_file_system,
        _storage,
        _virtual,
        _virtual_of_storage,
    ],
)
def test_nothing_outside_of_the_folder_is_read(path, secret, write):
    with h5py.File(path, "w") as file:
        file["good"] = VALUES
        write(file, secret)
    with h5py.File(path, "r") as file:
        assert file["v"][1] == 1.0  # the library would read it
    found = open_container(path)
    np.testing.assert_array_equal(found.read("good"), VALUES)
    for read in (found.read, Hdf5(path).dataset):
        with pytest.raises(DataError, match=r"a\.h5|b\.h5.*another file"):
            read("v")
    assert "another file" in found.entries["v"].dtype


def test_a_virtual_data_set_of_the_same_folder_is_read(path):
    with h5py.File(path.parent / "b.h5", "w") as file:
        file["v"] = VALUES
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((7,), "f8")
        layout[:] = h5py.VirtualSource("b.h5", "v", (7,))
        file.create_virtual_dataset("v", layout)
    np.testing.assert_array_equal(open_container(path).read("v"), VALUES)


def test_links_in_circles_end(path):
    with h5py.File(path, "w") as file:
        file["v"] = VALUES
        file["round"] = h5py.SoftLink("/round")
        file["a/up"] = file["/"]
        file["a/b/up"] = h5py.SoftLink("/a")
    found = open_container(path)
    np.testing.assert_array_equal(found.read("v"), VALUES)
    with pytest.raises(DataError, match="circles"):
        found.read("round")


def test_sizes_that_are_only_declared_are_refused(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", (10**15,), "f8")
        file.create_dataset("chunked", (40_000_000,), "f8", chunks=(1_000_000,), compression="gzip")
        file["chunked"][:1_000_000] = 1.0
    found = open_container(path)
    assert found.entries["huge"].shape == (10**15,)
    for key in ("huge", "chunked"):
        with pytest.raises(DataError, match=f"{key} declares .* MB in .*set {VARIABLE}="):
            found.read(key)
    np.testing.assert_array_equal(found.read("huge", slice(10**14, 10**14 + 3)), np.zeros(3))
    monkeypatch.setenv(VARIABLE, "400")
    assert np.asarray(found.read("chunked"))[[0, -1]].tolist() == [1.0, 0.0]


def test_empty_arrays_of_matlab_are_empty(path):
    with h5py.File(path, "w") as file:
        file["none"] = np.array([1, 0], np.uint64)
        file["none"].attrs["MATLAB_empty"] = np.uint8(1)
    found = open_container(path)
    assert found.entries["none"].shape == (1, 0)
    assert np.asarray(found.read("none")).size == 0


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_said_with_the_file(path, seed):
    with h5py.File(path, "w") as file:
        file["a/v"], file["a/n"] = VALUES, np.arange(5)
        file.create_dataset("lists", (3,), h5py.vlen_dtype(np.float64))
        file["lists"][1] = VALUES
        file["a/v"].attrs["unit"] = "mV"
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(len(content), size=4):
        content[place] = random.integers(256)
    path.write_bytes(content[: random.integers(100, len(content))] if seed % 4 == 0 else content)
    with suppress(DataError):  # and nothing else
        found = open_container(path)
        for key in found.entries:
            with suppress(DataError):
                found.read(key)
