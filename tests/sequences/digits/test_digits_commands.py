import json

import pytest
from cyclopts import App
from digits_examples import make_recordings, write_digits

from ulmus.cli.data import fetch, info
from ulmus.cli.make import spoken_digits
from ulmus.errors import DataError
from ulmus.sequences.digits.shd import SpikeFile


@pytest.fixture
def app():
    app = App(result_action="return_value")
    app.command(spoken_digits, name="spoken-digits")
    app.command(fetch, name="fetch")
    app.command(info, name="info")
    return app


def test_recordings_become_files_and_are_described(app, tmp_path, capsys):
    make_recordings(tmp_path / "wavs", digits=(1, 2), takes=1)
    out = tmp_path / "digits"
    app(
        [
            "spoken-digits",
            "--from",
            f"{tmp_path / 'wavs'}",
            "--out",
            f"{out}",
            "--test-speakers",
            "bob",
            "--workers",
            "1",
        ]
    )
    assert set(SpikeFile(out / "spoken_digits_test.h5").speakers.tolist()) == {1}
    assert f"train: {out / 'spoken_digits_train.h5'}" in capsys.readouterr().out
    app(["info", f"{out}", "--json"])
    described = json.loads(capsys.readouterr().out)
    assert described["train"]["clips"] == 4
    app(["info", f"{out}"])
    assert "clips_per_class" in capsys.readouterr().out


def test_files_at_hand_are_fetched(app, tmp_path, capsys):
    for name in ("shd_train.h5", "shd_test.h5"):
        write_digits(tmp_path / name)
    app(["fetch", "shd", "--from", f"{tmp_path}", "--out", f"{tmp_path / 'shd'}"])
    assert (tmp_path / "shd" / "shd_test.h5").exists()
    assert f"{tmp_path / 'shd' / 'shd_test.h5'}" in capsys.readouterr().out
    with pytest.raises(DataError, match="holds no ssc_train"):
        app(["fetch", "ssc", "--from", f"{tmp_path}", "--out", f"{tmp_path / 'ssc'}"])
