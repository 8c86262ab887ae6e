"""``ulmus export``: files at the places that were asked for, and what is refused."""

import pytest

import ulmus
from ulmus.cli import main


def ulmus_export(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, arguments)])
    return ended.value.code or 0


def test_files_are_written_where_they_are_asked_for(tmp_path, capsys):
    assert ulmus_export("c", "l5pc-small", "--out", tmp_path / "new" / "cell.c") == 0
    assert "int cell_step(cell_state *state" in (tmp_path / "new" / "cell.c").read_text()
    assert ulmus_export("javascript", "l5pc-small", "--out", tmp_path / "cell.mjs") == 0
    assert "export function createNeuron()" in (tmp_path / "cell.mjs").read_text()
    ulmus.save(ulmus.load("l5pc-small"), tmp_path / "2 mine.safetensors")
    assert (
        ulmus_export("neuron", "l5pc-small", tmp_path / "2 mine.safetensors", "--out", tmp_path / "mod") == 0
    )
    assert sorted(file.name for file in (tmp_path / "mod").iterdir()) == [
        "l5pc_small.mod",
        "neuron_2_mine.mod",
    ]
    assert "ARTIFICIAL_CELL neuron_2_mine" in (tmp_path / "mod" / "neuron_2_mine.mod").read_text()
    printed = capsys.readouterr()
    assert str(tmp_path / "new" / "cell.c") in printed.out
    assert "nrnivmodl" in printed.err


def test_onnx_is_written(tmp_path):
    onnx = pytest.importorskip("onnx")
    assert ulmus_export("onnx", "l5pc-small", "--out", tmp_path / "cell.onnx") == 0
    names = [one.name for one in onnx.load(tmp_path / "cell.onnx").graph.output]
    assert {"spike_probability", "voltage_mv"} <= set(names)


def test_what_cannot_be_written_is_refused(tmp_path, capsys):
    assert ulmus_export("c", "l5pc-small", "--out", tmp_path / "cell.mjs") == 2
    assert "expected .c or .h" in capsys.readouterr().err
    assert ulmus_export("neuron", "--out", tmp_path) == 2
    assert "no neuron was named" in capsys.readouterr().err
    ulmus.save(ulmus.load("l5pc-small"), tmp_path / "l5pc_small.safetensors")
    assert (
        ulmus_export("neuron", "l5pc-small", tmp_path / "l5pc_small.safetensors", "--out", tmp_path / "mod")
        == 2
    )
    assert "the same name" in capsys.readouterr().err
    assert not (tmp_path / "mod").exists()
    assert ulmus_export("c", "l5pc-smal", "--out", tmp_path / "cell.c") == 3
    assert "Did you mean 'l5pc-small'" in capsys.readouterr().err
