"""The network that reads every pixel says at lit pixels what the reader says, who sees these alone and is told their places."""

import numpy as np
import pathfinder_every_pixel
import pytest
import torch
from pathfinder_every_pixel import LIT, Places, Reader, begin, hold, translate

import ulmus
from ulmus.errors import ConfigError
from ulmus.sequences.lra.encoding import GrayBins, LitPixels


@pytest.fixture
def images():
    """Images of 16 x 16 pixels, of which a tenth is lit."""
    random = np.random.default_rng(0)
    lit = random.random((3, 256)) < 0.1
    return torch.from_numpy(
        np.where(lit, random.integers(32, 256, lit.shape), random.integers(0, 32, lit.shape))
    ).byte()


@pytest.fixture
def reader():
    torch.manual_seed(1)
    return Reader(Places(16, columns=3, rows=2), units=5).double()


def test_the_translation_says_what_the_reader_says(reader, images, monkeypatch):
    # In double precision, they can be so small that normalising does not see them.
    for size in ("RADIUS", "SIGNAL"):
        monkeypatch.setattr(pathfinder_every_pixel, size, 1e-6)
    network = translate(reader, images).double()
    pixels, _ = GrayBins(8)(images, torch.full((3,), 256))
    with torch.no_grad():
        outputs = network.model(pixels)[0]
        told, _, lit = reader.read(images)
        wanted = reader(told)
    for found, expected, here in zip(outputs, wanted, lit, strict=True):
        count = int(here.sum())
        torch.testing.assert_close(found[here], expected[:count], atol=0.01 * float(wanted.std()), rtol=0)
    torch.testing.assert_close(network(pixels), reader.classes(images), atol=0.02, rtol=0)
    assert float(wanted.std(dim=1).min()) > 0.01  # there is something to say


@pytest.mark.parametrize(("tau_ms", "largest"), [(1.5, 1.5), (5, 2), (1000, 1)])
def test_memory_is_held_in_the_dark(tau_ms, largest):
    decay, gain = np.exp(-1 / tau_ms), 1 - np.exp(-5 / tau_ms)
    pairs, error = hold(decay, gain, largest)
    silu = torch.nn.functional.silu
    start = memory = torch.linspace(-largest, largest, 21, dtype=torch.float64)
    for _ in range(10):
        u = decay * memory
        proposal = sum(c * (silu(s * u + b) - silu(b - s * u)) for s, b, c in pairs)
        memory = u + gain * 1.7159 * torch.tanh(2 / 3 * proposal)
    torch.testing.assert_close(memory, start, atol=0.01 * largest, rtol=0)
    assert error < 2e-3


def test_it_begins_with_the_network_that_reads_lit_pixels(monkeypatch):
    monkeypatch.setattr(pathfinder_every_pixel, "SHORTEST_MS", 1.0001)  # that of the network
    reader, old = Reader(Places()), ulmus.load(LIT)
    begin(reader, LIT)
    random = np.random.default_rng(0)
    images = torch.from_numpy(np.where(random.random((6, 128 * 128)) < 0.02, 255, 0)).byte()
    events, _ = LitPixels(128, 8)(images, torch.full((6,), 128 * 128))
    told, shares, _ = reader.read(images)
    with torch.no_grad():
        wanted, found = old.model(events)[0], reader(told)
    at = shares > 0  # sines are not quite what 32 channels of a side can say
    for output, expected in zip(found[at].T, wanted[:, : found.shape[1]][at].T, strict=True):
        assert np.corrcoef(output, expected)[0, 1] > 0.97


@pytest.mark.parametrize(("changes", "message"), [({"steps": 0}, "steps=0"), ({"seed": 3}, "seed=0")])
def test_what_a_folder_holds_is_not_mistaken_for_what_is_asked(changes, message, tmp_path):
    (tmp_path / "settings.json").write_text('{"steps": 8000, "rate": 0.001, "seed": 0}')
    with pytest.raises(ConfigError, match=message):
        pathfinder_every_pixel.run(tmp_path, tmp_path, **changes)
