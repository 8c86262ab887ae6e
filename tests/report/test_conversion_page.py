"""What a user sees after a conversion: the table, the page, the list of keys."""

import re

import numpy as np
import pytest
import recording_examples as examples
import yaml
from recording_examples import recordings

from ulmus.cli import main
from ulmus.report.conversion_page import conversion_figure, summarise
from ulmus.trials import Store


def ulmus(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


@pytest.fixture
def converted(tmp_path, capsys):
    (path,), mapping = examples.hdf5_rows(tmp_path)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping.model_dump(mode="json", exclude_unset=True)))
    code = ulmus("data", "convert", path, "--mapping", tmp_path / "map.yaml", "--out", tmp_path / "store")
    assert code in (0, None)
    return tmp_path, " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_table_and_the_page(converted):
    folder, printed = converted
    trials = recordings()
    assert "trials 3 of 200 ms in steps of 1 ms" in printed
    rate = np.mean([np.isin(r.input, [0, 1, 2]).sum() for r in trials]) / 3 / 0.2
    assert f"excitatory inputs 3, {rate:.3g} Hz each" in printed
    low, high = (f([f(r.voltage_mv[::8]) for r in trials]) for f in (min, max))
    assert f"voltage, soma {low:.1f} to {high:.1f} mV" in printed
    assert "output spikes 6 (from spikes/t), 10 Hz, 0% of trials silent" in printed
    page = (folder / "store" / "understood.html").read_text()
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "default-src 'none'" in page
    assert "http" not in outside.replace("http-equiv", "")
    assert "10 Hz" in outside
    assert Store(folder / "store").verify() == []


def test_the_picture_shows_the_first_trial(converted):
    store = Store(converted[0] / "store")
    figure = conversion_figure(store, summarise(store))
    first = recordings()[0]
    inhibitory = np.isin(first.input, examples.INHIBITORY)
    maps = [np.asarray(trace.z) for trace in figure.data if trace.type == "heatmap"]
    assert [(m.shape, int(m.sum())) for m in maps] == [
        ((3, 200), (~inhibitory).sum()),
        ((2, 200), inhibitory.sum()),
    ]
    curve, spikes = (trace for trace in figure.data if trace.type == "scatter" and trace.xaxis is None)
    np.testing.assert_array_equal(curve.y, first.voltage_mv[::8])
    np.testing.assert_array_equal(spikes.x, first.spike_ms)
    for at, height in zip(spikes.x, spikes.y, strict=True):
        near = curve.y[max(0, round(at) - 1) : round(at) + 2]
        assert near.max() < height < near.max() + 0.05 * np.ptp(curve.y)


def test_keys_of_a_file_are_listed(tmp_path, capsys):
    (path,), _ = examples.nwb_session(tmp_path)
    ulmus("data", "inspect", path)
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "acquisition/soma/data 32000 float64 V" in printed
    assert "units/spike_times 186 float64 s" in printed
    assert ulmus("data", "inspect", tmp_path / "nowhere.h5") == 3
    assert "does not exist" in capsys.readouterr().err
