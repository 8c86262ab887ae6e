"""The Transformer against PyTorch's own encoder layer, with padding and without."""

import numpy as np
import pytest
import torch
from event_sequences import events_of, spikes
from torch import nn

from ulmus.baselines import Transformer
from ulmus.errors import ConfigError, ShapeError
from ulmus.neuron import Classifier


def make(**changes) -> Transformer:
    torch.manual_seed(0)
    arguments = {"outputs": 3, "width": 16, "layers": 2, "heads": 2, "hidden": 24, "dropout": 0.0}
    model = Transformer(5, **(arguments | changes)).double()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name:
                value.add_(0.3 * torch.randn_like(value))
    return model


def of_torch(model: Transformer, x: torch.Tensor, **masks: torch.Tensor) -> torch.Tensor:
    """The same computed by `nn.TransformerEncoderLayer`, with positions from NumPy."""
    frequency = 1 / 10_000 ** (np.arange(0, 16, 2) / 16)
    phase = np.arange(x.shape[1])[:, None] * frequency
    signal = model.embedding(x) + torch.from_numpy(np.concatenate([np.sin(phase), np.cos(phase)], axis=1))
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(16, 2, 24, 0.0, norm_first=True, batch_first=True).double()
        attention = {"self_attn.in_proj": block.projection, "self_attn.out_proj": block.merge}
        pairs = {"linear1": block.expand, "linear2": block.contract, "norm1": block.attention_norm}
        state = {}
        for name, module in (attention | pairs | {"norm2": block.hidden_norm}).items():
            separator = "_" if name.endswith("in_proj") else "."
            state |= {f"{name}{separator}{part}": value for part, value in module.state_dict().items()}
        layer.load_state_dict(state)
        signal = layer(signal, **masks)
    return model.readout(model.norm(signal))


def test_equals_the_encoder_layers_of_pytorch():
    model, x = make(), torch.randn(3, 9, 5, dtype=torch.float64)
    y, state = model(x)
    assert state is None
    torch.testing.assert_close(y, of_torch(model, x))


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_not_looked_at(causal):
    model, x = make(causal=causal), torch.randn(3, 9, 5, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 1])
    y = model(x, lengths=lengths)[0]
    masks = {"src_key_padding_mask": torch.arange(9) >= lengths[:, None]}
    if causal:
        masks["src_mask"] = torch.ones(9, 9, dtype=torch.bool).triu(1)
    expected = of_torch(model, x, **masks)
    for number, length in enumerate(lengths):
        torch.testing.assert_close(y[number, :length], expected[number, :length])
        alone = model(x[number : number + 1, :length])[0][0]
        torch.testing.assert_close(y[number, :length], alone)


def test_causal_outputs_do_not_look_ahead_and_others_do():
    for causal in (True, False):
        x = torch.randn(1, 8, 5, dtype=torch.float64, requires_grad=True)
        make(causal=causal)(x)[0][0, 3].sum().backward()
        seen = torch.nonzero(x.grad.abs().sum(dim=2)[0]).flatten().tolist()
        assert seen == list(range(4 if causal else 8))


def test_events_equal_the_dense_input():
    model, x = make(), spikes(2, 20, 5)
    torch.testing.assert_close(model(events_of(x))[0], model(x.double())[0])


def test_gradients_reach_every_parameter():
    model = make()
    model(torch.randn(3, 9, 5, dtype=torch.float64))[0].square().sum().backward()
    silent = [name for name, value in model.named_parameters() if not bool((value.grad != 0).any())]
    assert silent == []


def test_the_default_has_the_size_of_the_long_range_arena():
    layer = 4 * 128 * 128 + 4 * 128 + 2 * 128 * 512 + 512 + 128 + 4 * 128
    ends = 16 * 128 + 128 + 2 * 128 + 128 * 2 + 2
    assert Transformer(16, 2).trainable_parameters() == 3 * layer + ends == 597_506


def test_a_classifier_tells_it_what_is_padding():
    classifier = Classifier(make(), ["a", "b", "c"], reading="mean")
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    scores = classifier(x, torch.tensor([9, 4]))
    torch.testing.assert_close(scores[1:], classifier(x[1:, :4]))


def test_values_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match="width=15"):
        make(width=15)
    with pytest.raises(ConfigError, match=r"dropout=1\.0"):
        make(dropout=1.0)
    with pytest.raises(ShapeError, match="no state"):
        make()(torch.zeros(1, 3, 5), ())
