import functools
import gzip
import http.server
import io
import tarfile
import threading

import pytest

from ulmus.cli.data import app
from ulmus.errors import ConfigError, DataError
from ulmus.sequences.lra.fetch import fetch_lra
from ulmus.sequences.lra.listops.files import listops_splits
from ulmus.sequences.lra.listops.writer import make_listops

TABLE = b"Source\tTarget\n( 1 )\t1\n"


def archive_of(names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(TABLE)
            archive.addfile(member, io.BytesIO(TABLE))
    return gzip.compress(buffer.getvalue())


NAMES = [
    *(f"lra_release/lra_release/listops-1000/basic_{split}.tsv" for split in ("train", "val", "test")),
    "lra_release/lra_release/listops-1000/._basic_val.tsv",
    "lra_release/lra_release/pathfinder32/curv_baseline/metadata/0.npy",
    "lra_release/lra_release/listops-1000/../../../../outside.tsv",
]


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "lra_release.gz").write_bytes(archive_of(NAMES))
    return folder


@pytest.fixture
def address(published):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=published))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/lra_release.gz"
    server.shutdown()
    server.server_close()
    thread.join()


def files(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_parts_are_taken_from_a_folder_one_after_the_other(published, tmp_path):
    out = tmp_path / "out"
    app(
        ["fetch", "lra", "--out", str(out), "--from", str(published), "--only", "listops-1000"],
        result_action="return_value",
    )
    assert files(out) == {f"listops-1000/basic_{split}.tsv" for split in ("train", "val", "test")}
    assert [len(part) for part in listops_splits(out)] == [1, 1, 1]
    (out / "listops-1000" / "basic_val.tsv").write_bytes(b"mine")
    fetch_lra(out, published, only=["listops-1000", "pathfinder32"])
    assert (out / "pathfinder32" / "curv_baseline" / "metadata" / "0.npy").read_bytes() == TABLE
    assert (out / "listops-1000" / "basic_val.tsv").read_bytes() == b"mine"
    assert not (tmp_path / "outside.tsv").exists()


def test_the_archive_is_downloaded_and_kept(address, published, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    whole = (published / "lra_release.gz").read_bytes()
    seen = []
    fetch_lra(out, only=["pathfinder32"], address=address, on_bytes=lambda *now: seen.append(now))
    assert (out / "lra_release.gz").read_bytes() == whole
    assert ("download", len(whole), len(whole)) in seen
    assert {what for what, _, _ in seen} == {"download", "unpack"}
    (published / "lra_release.gz").unlink()
    fetch_lra(out, only=["listops-1000"], address=address)  # from the archive that was kept
    assert (out / "listops-1000").is_dir()
    with pytest.raises(DataError, match=r"lra_release.gz could not be downloaded: .*404"):
        fetch_lra(tmp_path / "other", address=address)


@pytest.mark.parametrize("damage", ["cut", "sum", "page"])
def test_nothing_appears_of_a_damaged_archive(published, tmp_path, damage):
    whole = (published / "lra_release.gz").read_bytes()
    content = {"cut": whole[:-30], "sum": whole[:-8] + bytes(8), "page": b"<html>"}[damage]
    (published / "lra_release.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch_lra(tmp_path / "out", published, only=["listops-1000"])
    assert files(tmp_path / "out") == set()


def test_what_cannot_be_fetched_is_said(published, tmp_path):
    with pytest.raises(ConfigError, match="only='listops'"):
        fetch_lra(tmp_path / "out", published, only=["listops"])
    with pytest.raises(DataError, match=r"holds no tsv_data, pathfinder64"):
        fetch_lra(tmp_path / "out", published)
    with pytest.raises(DataError, match=r"holds no lra_release.gz or"):
        fetch_lra(tmp_path / "out", tmp_path)
    make_listops(tmp_path / "made", counts=(5, 2, 2), shortest=10, longest=60, workers=1)
    with pytest.raises(DataError, match="was made by `ulmus data make`"):
        fetch_lra(tmp_path / "made", published, only=["listops-1000"])
