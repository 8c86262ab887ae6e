"""Neurons with weights of their own, and one followed online, against the reference."""

import pytest
import torch
from kernel_cases import as_events, make

from ulmus.errors import BackendError, ConfigError, ShapeError
from ulmus.kernels import ELMState, reference
from ulmus.kernels.population import Population
from ulmus.kernels.stream import Stream


@pytest.mark.parametrize("kind", ["sparse", "dense", "narrow", "events", "vanilla"])
@pytest.mark.parametrize("hidden", [(), (9,), (9, 4)])
def test_population(kind, hidden):
    cases = [make(kind, batch=1, time=30, hidden=hidden, seed=seed) for seed in range(4)]
    wanted = [reference.run(*case) for case in cases]
    dense = torch.cat([case.inputs.dense() if kind == "events" else case.inputs for case in cases])
    population = Population([case.weights for case in cases], "relu")
    start = ELMState(*(torch.cat(parts) for parts in zip(*(case.state for case in cases), strict=True)))
    outputs, state = population.run(as_events(dense) if kind == "events" else dense, start)
    torch.testing.assert_close(outputs, torch.cat([y for y, _ in wanted]), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(
        state.memory, torch.cat([end.memory for _, end in wanted]), rtol=1e-4, atol=2e-5
    )
    torch.testing.assert_close(
        state.branches, torch.cat([end.branches for _, end in wanted]), rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize("kind", ["sparse", "narrow", "vanilla"])
def test_steps_of_a_stream(kind):
    case = make(kind, batch=1, time=12)
    stream = Stream(case.weights, "relu", case.state)
    steps = torch.stack([stream.step(x) for x in case.inputs[0]])
    wanted, end = reference.run(*case)
    torch.testing.assert_close(steps, wanted[0], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(stream.state.memory, end.memory, rtol=1e-4, atol=2e-5)


def test_what_a_population_refuses():
    case, other = make("narrow"), make("narrow", memory=6)
    with pytest.raises(ConfigError, match="0 neurons"):
        Population([], "relu")
    with pytest.raises(ConfigError, match="neuron 1"):
        Population([case.weights, other.weights], "relu")
    with pytest.raises(BackendError, match="bfloat16"):
        Population([make("narrow", dtype=torch.bfloat16).weights], "relu")
    with pytest.raises(ShapeError, match="expected"):
        Population([case.weights], "relu").run(torch.zeros(2, 3, 3))
    with pytest.raises(ShapeError, match="one step"):
        Stream(case.weights, "relu").step(torch.zeros(4))
