"""A fitted neuron as one JavaScript module without dependencies."""

import base64
import tempfile
from importlib.resources import files
from pathlib import Path

from ulmus.export.constants import continuous_inputs, described, identifier, surrogate_of_elm
from ulmus.neuron import Surrogate, save

_MODULE = """\
// {described}. Written by Ulmus.
//
//   import {{ createNeuron }} from "./{name}.mjs";
//   const neuron = createNeuron();
//   const {{ spikeProbability, spike, voltageMv }} = neuron.step([3, 700], [1, -1]);  // events: inputs, values
{continuous}
{runtime}
const SAVED = "{saved}";

/** The neuron at rest. */
export function createNeuron() {{
  return readNeuron(Uint8Array.from(atob(SAVED), (letter) => letter.charCodeAt(0)).buffer);
}}
"""


def javascript_source(model: Surrogate, name: str) -> str:
    """The module's text: the reader of saved neurons that the explorer uses as well, and the saved neuron itself.

    Raises:
        ConfigError: the model is not a surrogate of an ELM.
    """
    surrogate = surrogate_of_elm(model, "JavaScript")
    told = continuous_inputs(surrogate)
    return _MODULE.format(
        continuous=f"// {told}\n" if told else "",
        described=described(surrogate, name),
        name=identifier(name),
        runtime=runtime(),
        saved=saved(surrogate),
    )


def runtime() -> str:
    """What reads and runs a saved neuron, as text."""
    return (files("ulmus.export") / "neuron.js").read_text(encoding="utf-8")


def saved(surrogate: Surrogate) -> str:
    """The file that `ulmus.save` writes, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        return base64.b64encode(save(surrogate, Path(folder) / "neuron.safetensors").read_bytes()).decode()
