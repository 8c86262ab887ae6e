"""One call for all formats: the end of the file's name says which."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ulmus.errors import ConfigError, closest
from ulmus.export.c import c_source
from ulmus.export.javascript import javascript_source
from ulmus.export.nmodl import nmodl_source
from ulmus.export.onnx_file import write_onnx
from ulmus.files.writing import write_text


def _text(source: Callable[[Any, str], str]) -> Callable[[nn.Module, Path], None]:
    def write(model: nn.Module, path: Path) -> None:
        write_text(path, source(model, path.stem))

    return write


FORMATS: dict[str, Callable[[nn.Module, Path], None]] = {
    ".c": _text(c_source),
    ".h": _text(lambda model, name: c_source(model, name, header=True)),
    ".js": _text(javascript_source),
    ".mjs": _text(javascript_source),
    ".mod": _text(nmodl_source),
    ".onnx": write_onnx,
}
"""What writes a model, by the end of the file's name."""


def export(model: nn.Module, path: str | Path) -> Path:
    """Write a fitted neuron for another program; an existing file is replaced only once the new one is whole.

    =================  =======================================================================================
    ``.c``, ``.h``     one self-contained file of C99: ``NAME_reset(&state)``, ``NAME_step(&state, ...)``
    ``.js``, ``.mjs``  one JavaScript module: ``createNeuron().step(inputs, values)``
    ``.mod``           an artificial cell of NEURON, to be compiled with ``nrnivmodl``
    ``.onnx``          ONNX, for sequences of any number and length; also of neurons, networks and classifiers
    =================  =======================================================================================

    C, JavaScript and NEURON compute in double precision what `Surrogate.predict` computes, one step at a time, with their state
    inside. ONNX computes in the precision of the model; its inputs are ``inputs`` ``[batch, time, inputs]`` and the state
    (``branches``, ``memory``; of further layers ``branches_1`` and so on; zeros at rest), its outputs ``outputs``, or
    ``spike_probability`` and ``voltage_mv``, or ``logits``, and the state to go on from (``branches_after``, ``memory_after``).

    Example:
        >>> import tempfile
        >>> ulmus.export(ulmus.load("l5pc-small"), tempfile.mkdtemp() + "/l5pc.c").name
        'l5pc.c'

    Args:
        model: A `Surrogate` of an `ELM`; for ONNX also an `ELM`, an `ELMNetwork`, or a `Classifier` of one.
        path: File to write; NAME above is its name without the end.

    Raises:
        ConfigError: an end that is not known, or a model that this format cannot hold.
        OSError: the file cannot be written.
    """
    path = Path(path)
    write = FORMATS.get(path.suffix.lower())
    if write is None:
        raise ConfigError(
            f"{path.name} ends with {path.suffix!r}; expected one of {', '.join(FORMATS)}. Choose a name whose end says what "
            f"to write.{closest(path.suffix, list(FORMATS))}"
        )
    write(model, path)
    return path
