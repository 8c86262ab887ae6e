import gzip
import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from digits_examples import write_digits

from ulmus.errors import DataError
from ulmus.sequences.digits import fetch
from ulmus.sequences.digits.clips import open_digits
from ulmus.sequences.digits.fetch import fetch_shd

NAMES = ("shd_train.h5", "shd_test.h5")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Archives as published, with their MD5 known."""
    folder = tmp_path / "published"
    folder.mkdir()
    known = {}
    for seed, name in enumerate(NAMES):
        write_digits(folder / name, seed=seed, clips=40)
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / name, name)
        known[name] = hashlib.md5((folder / f"{name}.zip").read_bytes()).hexdigest()
    monkeypatch.setitem(fetch.ARCHIVES, "shd", known)
    return folder


class Server:
    """Serves a folder; counts requests, and can break off, refuse to resume, or change what it sends."""

    def __init__(self, folder):
        self.requests, self.break_after, self.resumes, self.prefix = [], None, True, b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                outer.requests.append((self.path, asked))
                file = folder / self.path.rsplit("/", 1)[-1]
                if not file.exists():
                    self.send_error(404)
                    return
                data, first = outer.prefix + file.read_bytes(), 0
                if asked and outer.resumes:
                    first = int(asked.removeprefix("bytes=").removesuffix("-"))
                    if first >= len(data):
                        self.send_error(416)
                        return
                    self.send_response(206)
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(data) - first))
                self.end_headers()
                stop, outer.break_after = outer.break_after, None
                self.wfile.write(data[first : len(data) if stop is None else stop])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/datasets"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server(published):
    server = Server(published)
    yield server
    server.close()


def assert_fetched(folder, published):
    for name in NAMES:
        assert (folder / name).read_bytes() == (published / name).read_bytes()
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]


def test_files_are_downloaded_checked_and_opened(server, published, tmp_path):
    seen = []
    files = fetch_shd(tmp_path / "shd", mirrors=[server.url], on_bytes=lambda *now: seen.append(now))
    assert [file.name for file in files] == list(NAMES)
    assert_fetched(tmp_path / "shd", published)
    assert len(open_digits(tmp_path / "shd").test) == 40
    size = (published / "shd_train.h5.zip").stat().st_size
    assert ("shd_train.h5", size, size) in seen
    # Once more: nothing is asked for.
    server.requests.clear()
    fetch_shd(tmp_path / "shd", mirrors=[server.url])
    assert server.requests == []


def test_an_interrupted_download_goes_on(server, published, tmp_path):
    server.break_after = 1000
    with pytest.raises(
        DataError, match=r"ended after 1000 of \d+ bytes|IncompleteRead.*could not|could not be downloaded"
    ):
        fetch_shd(tmp_path / "shd", mirrors=[server.url])
    server.requests.clear()
    fetch_shd(tmp_path / "shd", mirrors=[server.url])
    assert server.requests[0] == ("/datasets/shd_train.h5.zip", "bytes=1000-")
    assert_fetched(tmp_path / "shd", published)


def test_the_next_mirror_goes_on_with_what_one_began(server, published, tmp_path):
    server.break_after = 700
    fetch_shd(tmp_path / "shd", mirrors=[server.url, server.url + "/copy"])
    assert server.requests[1] == ("/datasets/copy/shd_train.h5.zip", "bytes=700-")
    assert_fetched(tmp_path / "shd", published)


def test_servers_that_cannot_resume_send_everything(server, published, tmp_path):
    server.break_after, server.resumes = 1000, False
    with pytest.raises(DataError):
        fetch_shd(tmp_path / "shd", mirrors=[server.url])
    fetch_shd(tmp_path / "shd", mirrors=[server.url])
    assert_fetched(tmp_path / "shd", published)


def test_a_beginning_of_something_else_is_thrown_away(server, published, tmp_path):
    (tmp_path / "shd").mkdir()
    for size in (500, 10**6):
        (tmp_path / "shd" / f".shd_train.h5.zip{fetch.PARTIAL}").write_bytes(b"x" * size)
        fetch_shd(tmp_path / "shd", mirrors=[server.url])
        assert_fetched(tmp_path / "shd", published)
        (tmp_path / "shd" / "shd_train.h5").unlink()


def test_mirrors_are_tried_in_order_and_named_when_all_fail(server, published, tmp_path):
    closed = Server(published)
    closed.close()
    fetch_shd(tmp_path / "shd", mirrors=[closed.url, server.url])
    assert_fetched(tmp_path / "shd", published)
    (published / "shd_test.h5.zip").unlink()
    with pytest.raises(
        DataError, match=rf"shd_test\.h5\.zip could not be downloaded: {closed.url}.*{server.url}.*404"
    ):
        fetch_shd(tmp_path / "again", mirrors=[closed.url, server.url])
    assert (tmp_path / "again" / "shd_train.h5").exists()


def test_wrong_content_is_refused(server, tmp_path):
    server.prefix = b"another file"
    with pytest.raises(DataError, match="has the MD5 .*; expected .*, the published one"):
        fetch_shd(tmp_path / "shd", mirrors=[server.url])
    assert not (tmp_path / "shd").exists()


@pytest.mark.parametrize("suffix", ["", ".zip", ".gz"])
def test_files_at_hand_are_taken(published, tmp_path, suffix):
    source = tmp_path / "source"
    source.mkdir()
    for name in NAMES:
        data = (published / (name + (".zip" if suffix == ".zip" else ""))).read_bytes()
        (source / (name + suffix)).write_bytes(gzip.compress(data) if suffix == ".gz" else data)
    fetch_shd(tmp_path / "shd", source, mirrors=[])
    assert_fetched(tmp_path / "shd", published)


def test_files_at_hand_are_checked(published, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        fetch_shd(tmp_path / "shd", tmp_path / "nowhere")
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(DataError, match=r"holds no shd_train\.h5"):
        fetch_shd(tmp_path / "shd", source)
    (source / "shd_train.h5.gz").write_bytes(gzip.compress((published / "shd_train.h5").read_bytes())[:-50])
    with pytest.raises(DataError, match=r"shd_train\.h5\.gz cannot be unpacked"):
        fetch_shd(tmp_path / "shd", source)
    (source / "shd_train.h5.gz").unlink()
    (source / "shd_train.h5.zip").write_bytes((published / "shd_test.h5.zip").read_bytes())
    with pytest.raises(DataError, match="has the MD5"):
        fetch_shd(tmp_path / "shd", source)
    (source / "shd_train.h5").write_bytes(b"no spikes")
    with pytest.raises(DataError, match=r"source/shd_train\.h5 cannot be read"):
        fetch_shd(tmp_path / "shd", source)
    assert not (tmp_path / "shd").exists()


def test_files_that_change_afterwards_are_noticed(published, tmp_path):
    fetch_shd(tmp_path / "shd", published)
    with (tmp_path / "shd" / "shd_test.h5").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"shd_test\.h5 changed since it was fetched"):
        fetch_shd(tmp_path / "shd", published)


def test_published_addresses_and_checksums_are_well_formed():
    for files in fetch.ARCHIVES.values():
        for name, md5 in files.items():
            assert name.endswith(".h5")
            assert len(md5) == 32
            assert set(md5) <= set("0123456789abcdef")
