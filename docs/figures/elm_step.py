"""Fit the small neuron of the interactive figure and write its weights: ``python docs/figures/elm_step.py`` (half a minute).

Three memory units on a leaky integrate-and-fire neuron with three excitatory inputs and an inhibitory one, each at a
random rate of up to 60 Hz: 30 trials of 4 s to learn from, 5 to choose the checkpoint. On
5 others the error of the voltage is 2.8 mV.
"""

import json
import tempfile
from pathlib import Path

import torch

import ulmus
from ulmus.teachers import IntegrateAndFire, regime_of_rates

OUT = Path(__file__).parent.parent / "_static/elm-step-weights.js"
RECIPE = """
name: step
seed: 1
model: {memory: 3, hidden: 4, activation: relu, tau_memory_ms: [4.0, 40.0]}
data: {train: 'TRIALS[:30]', validation: 'TRIALS[30:35]', window_ms: 500, burn_in_ms: 100}
training: {steps: 3000, batch: 8, learning_rate: 1.0e-2, validate_every: 500}
"""


def rounded(values: torch.Tensor) -> list:
    """Numbers that are read, not only computed with."""
    return json.loads(
        json.dumps(values.detach().double().tolist()), parse_float=lambda text: round(float(text), 4)
    )


def weights_of(surrogate: ulmus.Surrogate) -> dict:
    """What one step needs, under the names of `docs/_static/elm-step.js`."""
    neuron = surrogate.neuron
    return {
        "tau_synapse_ms": rounded(neuron.tau_synapse_ms),
        "tau_memory_ms": rounded(neuron.tau_memory()),
        "gain": neuron.gain,
        "synapses": rounded(neuron.weights().synapses),
        "hidden": {"weight": rounded(neuron.mlp[0].weight), "bias": rounded(neuron.mlp[0].bias)},
        "proposal": {"weight": rounded(neuron.mlp[1].weight), "bias": rounded(neuron.mlp[1].bias)},
        "readout": {"weight": rounded(neuron.readout.weight), "bias": rounded(neuron.readout.bias)},
        "mv_offset": surrogate.units.offset_mv,
        "mv_per_unit": 1 / surrogate.units.scale_per_mv,
    }


def main() -> None:
    """Simulate, fit, write."""
    cell = IntegrateAndFire(excitatory=3, inhibitory=1, weight_mv=40.0)
    with tempfile.TemporaryDirectory() as folder:
        trials, recipe = f"{folder}/trials", Path(folder) / "step.yaml"
        regime = regime_of_rates(cell, {"inputs": (0, 60)})
        ulmus.simulate(cell, regime, trials=40, seconds=4, out=trials, dt_ms=0.1, workers=1)
        recipe.write_text(RECIPE.replace("TRIALS", trials))
        run = ulmus.fit(recipe, f"{folder}/run")
        found = weights_of(ulmus.load(run.folder))
    OUT.write_text(
        "// Written by docs/figures/elm_step.py\nvar ELM_STEP_WEIGHTS = "
        + json.dumps(found, indent=1)
        + ";\n"
    )


if __name__ == "__main__":
    main()
