"""Long sequences through stacked layers, some steps at a time: equal to all at once, with memory that does not grow."""

import contextlib

import pytest
import torch
from network_examples import make_network

import ulmus
from ulmus.kernels import memory_budget
from ulmus.neuron import network as module


def make(**changes) -> ulmus.ELMNetwork:
    return make_network(**({"norm": True} | changes))


@contextlib.contextmanager
def stretches(steps, network, batch):
    """Stretches of so many steps, or all steps at once."""
    signals = max(sum(linear.out_features for linear in layer.mlp) for layer in network.layers)
    before, module._STRETCH = module._STRETCH, steps * batch * signals if steps else 1 << 60
    try:
        yield
    finally:
        module._STRETCH = before


def passed(network, x, steps, state=None, **options):
    """Outputs, last states, and gradients of everything for a loss that weighs both."""
    values = [value for value in network.parameters() if value.requires_grad]
    if isinstance(x, torch.Tensor):
        x = x.clone().requires_grad_()
        values.append(x)
    state = network.initial_state(3) if state is None else state
    state = [type(layer)(*(part.clone().requires_grad_() for part in layer)) for layer in state]
    values += [part for layer in state for part in layer]
    with stretches(steps, network, 3):
        torch.manual_seed(1)
        y, after = network(x, tuple(state), **options)
        results = [y, *(part for layer in after for part in layer)]
        draw = torch.Generator().manual_seed(2)
        loss = sum(
            (part * torch.randn(part.shape, generator=draw, dtype=part.dtype)).sum() for part in results
        )
        loss.backward()
    gradients = [value.grad for value in values]
    for value in values:
        value.grad = None
    return [part.detach() for part in results] + gradients


@pytest.mark.parametrize("steps", [1, 5, 19])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": False, "residual": False, "outputs": None},
        {"width": 5, "learn_tau_memory": True},
        {"scale_memory": True, "layers": 1, "branches": None, "synapses_per_branch": 1, "routing": "dense"},
        {"hidden_layers": 2, "activation": "silu", "memory_dropout": 0.3},
    ],
)
def test_stretches_equal_all_steps_at_once(changes, steps):
    network, x = make(**changes), torch.randn(3, 20, 6, dtype=torch.float64)
    state = [type(part)(*(torch.randn_like(one) for one in part)) for part in network.initial_state(3)]
    torch.testing.assert_close(
        passed(network, x, steps, state), passed(network, x, 0, state), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("without", [torch.inference_mode, torch.no_grad])
def test_without_gradients_too(without):
    network, x = make(), torch.randn(3, 20, 6, dtype=torch.float64)
    shares = torch.full((3, 20), 1 / 20, dtype=torch.float64)
    wanted, after = network(x)
    with without(), stretches(5, network, 3):
        found, last = network(x)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(last, after)
        torch.testing.assert_close(network(x, shares=shares)[0], wanted.mean(1))


def test_a_mean_is_read_once():
    network, x = make(), torch.randn(3, 20, 6, dtype=torch.float64)
    shares = torch.rand(3, 20, dtype=torch.float64)
    shares /= shares.sum(1, keepdim=True)
    found = passed(network, x, 6, shares=shares)
    torch.testing.assert_close(found, passed(network, x, 0, shares=shares), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0], (network(x)[0] * shares.unsqueeze(-1)).sum(1))


def test_events_in_stretches():
    dense = (torch.rand(3, 20, 6) < 0.1).double()
    rows, inputs = dense.flatten(0, 1).nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=60).reshape(3, 20).numpy()
    events = ulmus.Events.counted(counts, inputs.numpy(), torch.ones(len(inputs)).numpy(), 6).to(
        torch.float64
    )
    network = make()
    torch.testing.assert_close(passed(network, events, 6), passed(network, events, 0), rtol=1e-9, atol=1e-9)


def test_dropout_that_is_computed_again_leaves_out_the_same():
    network, x = make(dropout=0.3, layers=2), torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)

    def run(x):
        torch.manual_seed(3)
        return network(x)[0]

    with stretches(3, network, 2):
        assert torch.autograd.gradcheck(run, x)


def test_gradients_of_gradients():
    network, x = make(layers=2), torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    with stretches(2, network, 2), pytest.warns(UserWarning, match="gradients of gradients"):
        assert torch.autograd.gradgradcheck(lambda x: network(x)[0], x)


def test_results_are_the_same_to_the_last_bit_for_any_budget_and_threads():
    # Without norms, the gradients of whose weights PyTorch adds up in another order on more threads.
    found = []
    for norm, budget, threads in ((True, 48.0, 1), (True, 0.0, 1), (False, 48.0, 1), (False, 48.0, 2)):
        network, x, before = (
            make(memory=40, norm=norm).float(),
            torch.randn(3, 300, 6),
            torch.get_num_threads(),
        )
        torch.set_num_threads(threads)
        with memory_budget(budget):
            found.append(passed(network, x, 64))
        torch.set_num_threads(before)
    for one, other in (found[:2], found[2:]):
        assert all(map(torch.equal, one, other))


def test_a_backward_pass_can_be_repeated():
    network, x = make(), torch.randn(3, 20, 6, dtype=torch.float64, requires_grad=True)
    with stretches(6, network, 3):
        loss = network(x)[0].square().sum()
        first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_what_is_kept_for_backward_does_not_grow_with_the_steps():
    network = make()

    def kept(steps):
        numbers = 0

        def pack(tensor):
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), stretches(16, network, 3):
            network(torch.zeros(3, steps, 6, dtype=torch.float64), shares=torch.full((3, steps), 1 / steps))
        return numbers - 3 * steps * 6

    states = 3 * 3 * (3 + 4 + 2 * (4 + 4))  # of three sequences, at the edges of stretches
    assert kept(1600) - kept(160) <= 90 * states
    assert kept(1600) < 2 * kept(160) + 100 * states


def test_hooks_see_whole_sequences():
    network, seen = make(), []
    network.layers[1].register_forward_hook(lambda layer, given, found: seen.append(given[0].shape[1]))
    with stretches(5, network, 3):
        network(torch.zeros(3, 20, 6, dtype=torch.float64))
    assert seen == [20]


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 12, 20])])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_classifier_reads_the_mean(lengths, bidirectional):
    network = make(bidirectional=bidirectional)
    x = torch.randn(3, 20, 6, dtype=torch.float64)
    classifier = ulmus.Classifier(network, ("a", "b"), reading="mean")
    with stretches(6, network, 3):
        logits = classifier(x, lengths)
    y = network(x, lengths=lengths if bidirectional else None)[0]
    ends = [20] * 3 if lengths is None else lengths.tolist()
    expected = torch.stack([part[:end].mean(0) for part, end in zip(y, ends, strict=True)])
    torch.testing.assert_close(logits, expected)
