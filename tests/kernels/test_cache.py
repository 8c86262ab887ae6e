"""Machine code on disk: read where it lies, and never a reason to fail."""

import numba
import pytest
from numba.core.caching import CompileResultCacheImpl, IndexDataCacheFile

from ulmus.kernels import numba_cache
from ulmus.kernels.numba_compiling import kernel


def add_one(x):
    return x + 1


def hits(dispatcher):
    return sum(dispatcher.stats.cache_hits.values())


def refuse(*_, **__):
    raise PermissionError("read-only")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_second_process_compiles_nothing(folder):
    assert (kernel(add_one)(1), list(folder.rglob("*.nbc"))) != (2, [])
    again = kernel(add_one)
    assert (again(1), hits(again)) == (2, 1)


def test_a_changed_part_is_compiled_again(folder, monkeypatch):
    kernel(add_one)(1)
    monkeypatch.setattr(numba_cache, "_all_sources", lambda: "another version")
    again = kernel(add_one)
    assert (again(1), hits(again)) == (2, 0)


def test_a_read_only_cache_is_used(folder, monkeypatch):
    kernel(add_one)(1)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # how Numba finds out
    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", refuse)
    again = kernel(add_one)
    assert (again(1), hits(again)) == (2, 1)
    assert again(1.5) == 2.5  # compiled, and not written


def test_no_place_to_write_at_all(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(numba_cache._Places, "_locator_classes", CompileResultCacheImpl._locator_classes[:2])
    with pytest.raises(RuntimeError, match="no locator"):
        numba_cache._Cache(add_one)
    assert kernel(add_one)(1) == 2


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
def test_damaged_files_are_replaced(folder, pattern):
    kernel(add_one)(1)
    for file in folder.rglob(pattern):
        file.write_bytes(b"nothing that can be read")
    damaged = kernel(add_one)
    assert (damaged(1), hits(damaged)) == (2, 0)
    again = kernel(add_one)
    assert (again(1), hits(again)) == (2, 1)
