"""The measurement over lengths: what is known of its curves comes out of it."""

import json

import pytest
from browsing import installed_browser
from common import write_figure
from lengths import MODELS, LengthRow, bench_lengths, lengths_figure, measure
from PIL import Image

from ulmus.errors import ConfigError


def test_memory_of_an_lstm_grows_with_time():
    """It keeps its input, gates, cells and hidden states, in all at least 150 numbers a step and sequence."""
    short, long = bench_lengths((128, 4096), ["LSTM"], batch=2)
    assert (short.parameters, long.steps) == (150 * 4 * (16 + 150 + 1) + 150 * 2 + 2, 4096)
    at_least = 2 * 4096 * 150 * 4 / 2**20
    assert at_least < long.mebibytes < 100 * at_least
    assert short.mebibytes < 0.5 * long.mebibytes


def test_memory_of_a_transformer_does_not_grow_with_the_square_of_time():
    short, long = bench_lengths((1024, 2048), ["Transformer"], batch=1)
    assert long.mebibytes < 3 * short.mebibytes


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_measured(name, capsys):
    measure(name, 96, 1)
    row = LengthRow(**json.loads(capsys.readouterr().out))
    assert row.microseconds_per_step > 0
    assert (row.model, row.steps, row.batch) == (name, 96, 1)


def test_the_figure_holds_the_rows(tmp_path):
    rows = [LengthRow("ELM", 5, 1, steps, 2.0 + steps, 3.0 * steps) for steps in (512, 256)]
    figure = lengths_figure([*rows, LengthRow("LSTM", 6, 1, 256, 1.0, 2.0)])
    assert [list(line.y) for line in figure.data] == [[258.0, 514.0], [768.0, 1536.0], [1.0], [2.0]]
    write_figure(figure, tmp_path / "figure.html")
    assert "Plotly.newPlot" in (tmp_path / "figure.html").read_text()


def test_a_picture_of_a_figure_shows_it(tmp_path):
    installed_browser()
    rows = [LengthRow("ELM", 5, 1, steps, 2.0 + steps, 3.0 * steps) for steps in (512, 256)]
    write_figure(lengths_figure(rows), tmp_path / "figure.png", width=600, scale=1.0)
    picture = Image.open(tmp_path / "figure.png").convert("RGB")
    colours = {colour: count for count, colour in picture.getcolors()}
    assert picture.size == (600, 440)
    assert colours[255, 255, 255] > 200_000
    assert (
        sum(count for (red, green, blue), count in colours.items() if green > 1.3 * max(red, blue)) > 100
    )  # its line


def test_values_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'LSTM'"):
        bench_lengths((5,), ["LSTN"])
    with pytest.raises(ConfigError, match="above zero"):
        bench_lengths((0,))
