"""Pathfinder-X with every pixel read: a network that learnt from lit pixels, translated into one that reads all 16,384.

    ulmus data make pathfinder DIR --size 128 --as-published
    python benchmarks/pathfinder_every_pixel.py --data DIR --folder FOLDER --split test

The reader gets lit pixels alone, each with its gray level and its place; it goes on from `lra-pathfinder-x-lit-elm`, with labels
and hints. The network that it is translated into is an `ELMNetwork` like any other: a pixel a step, it gets the gray level as one
of eight channels, and nothing else. What the reader was given, it makes itself, by weights that are set here and not learnt:

- Where it is. Pairs of memory units turn by a fixed angle in every step: eight for the column, six for the row. The reader gets
  places as sines and cosines, so its weights for them become weights for these units.
- Whether a pixel is lit. Two memory units say so to the second layer.
- Stillness in the dark. Where a pixel is dark, a large negative input switches off the hidden units of the reader, and others
  give each memory unit back what it loses in a step.

All of it needs a function that is linear: silu(x) - silu(-x) = x. Shifted, silu(x + a) - silu(a - x), it bends upwards about as
the tanh of a memory's update bends downwards. At lit pixels the network says what the reader says, but for rounding and for what
memory still loses in the dark.

Called again, it goes on from what the folder holds: `reader.safetensors`, then `network.safetensors`, then the score.
"""

import math
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from common import start
from jaxtyping import Float, Float64, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

import ulmus
from ulmus.arguments import check_sizes
from ulmus.cli.console import say
from ulmus.errors import ConfigError
from ulmus.files.reading import read_json
from ulmus.files.writing import write_json
from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import PLACES, GrayBins, LitPixels
from ulmus.sequences.lra.pathfinder.files import pathfinder_x_splits
from ulmus.sequences.lra.pathfinder.hints import HINTS
from ulmus.sequences.lra.sequences import Sequences
from ulmus.training.kinds.labelled import evaluate_classes

LIT = Path(__file__).parent / "checkpoints" / "lra-pathfinder-x-lit-elm"
LEVELS = 8
UNITS = 50
"""Memory units of a layer of the reader."""
SIGNALS = 3
CLASSES = ("apart", "connected")
OPTIONS: dict[str, Any] = {
    "activation": "silu",
    "update": "bounded",
    "tau_synapse_ms": 0.05,
    "learn_synapses": False,
    "learn_tau_memory": True,
}
SYNAPSE = 0.5
"""Weight of every synapse, the default of a neuron."""
SHORTEST_MS, LONGEST_MS = 1.5, 1000.0
"""Time constants of the reader: what decays faster than in 1.5 steps cannot be held well in the dark."""
OFF = 120.0
"""How far a unit is switched off: silu(-60) is nothing in single precision."""
ON = 10.0
AT_ONCE_MS, CLOCK_MS = 0.05, 5.0
RADIUS, SIGNAL = 1e-3, 0.03
"""Of clocks, so small that their tanh is linear, and of the signals: next to the memory of the reader, neither changes what
normalising divides by."""
BATCH = 32


class Places(NamedTuple):
    """Sines and cosines that say where a pixel is.

    Attributes:
        side: of the images.
        columns: periods of a row, from the whole on.
        rows: half periods of an image.
    """

    side: int = 128
    columns: int = 8
    rows: int = 6

    @property
    def angles(self) -> Float64[np.ndarray, "clocks"]:
        """What each clock turns by in a step."""
        of_rows = np.pi / self.side**2 * np.arange(1, self.rows + 1)
        return np.concatenate([2 * np.pi / self.side * np.arange(1, self.columns + 1), of_rows])

    @property
    def count(self) -> int:
        """Cosine and sine of every clock."""
        return 2 * (self.columns + self.rows)

    def table(self) -> Float64[np.ndarray, "pixels places"]:
        """Of every pixel."""
        turned = np.arange(self.side**2)[:, None] * self.angles
        return np.stack([np.cos(turned), np.sin(turned)], axis=2).reshape(len(turned), -1)


class Reader(nn.Module):
    """Two layers of ELM neurons that read lit pixels; normalised as if there were the memory units of the translation too.

    ::

        h = ELM_1(gray, place),  h = h + ELM_2(norm(h)),  y = W_y norm(h) + bias
    """

    def __init__(self, places: Places, units: int = UNITS) -> None:
        super().__init__()
        options: dict[str, Any] = {**OPTIONS, "memory": units, "tau_memory_ms": (SHORTEST_MS, LONGEST_MS)}
        self.places, self.units, self.silent = places, units, places.count + SIGNALS
        self.layers = nn.ModuleList(
            [ulmus.ELM(LEVELS - 1 + places.count, **options), ulmus.ELM(units, **options)]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(units) for _ in self.layers)
        self.readout = nn.Linear(units, len(CLASSES) + len(HINTS))
        self.register_buffer("table", torch.tensor(places.table(), dtype=torch.get_default_dtype()), False)

    def normalised(self, layer: int, memory: Float[Tensor, "batch time units"]) -> Tensor:
        """What the next layer sees."""
        norm, width = self.norms[layer], self.units + self.silent
        padded = functional.layer_norm(functional.pad(memory, (0, self.silent)), (width,), eps=norm.eps)
        return padded[..., : self.units] * norm.weight + norm.bias

    def memories(self, lit: Float[Tensor, "batch time channels"]) -> list[Tensor]:
        """Of both layers."""
        first = self.layers[0](lit)[0]
        return [first, self.layers[1](self.normalised(0, first))[0]]

    def forward(self, lit: Float[Tensor, "batch time channels"]) -> Float[Tensor, "batch time outputs"]:
        """Classes and hints at every lit pixel."""
        return self.readout(self.normalised(1, sum(self.memories(lit))))

    def read(
        self, images: UInt8[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch time channels"], Float[Tensor, "batch time"], Tensor]:
        """Lit pixels, the share of the sequence from each to the next one, and which pixels are lit."""
        levels = images.int() * LEVELS // 256
        lit = levels > 0
        inputs, shares = [], []
        for row, here in zip(levels, lit, strict=True):
            at = here.nonzero()[:, 0]
            gray = functional.one_hot(row[at].long() - 1, LEVELS - 1).to(self.table.dtype)
            inputs.append(torch.cat([gray, self.table[at]], dim=1))
            until = torch.cat([at[1:], at.new_tensor([len(row)])])
            shares.append((until - at).to(self.table.dtype) / len(row))
        return pad_sequence(inputs, batch_first=True), pad_sequence(shares, batch_first=True), lit

    def classes(self, images: UInt8[Tensor, "batch pixels"]) -> Float[Tensor, "batch classes"]:
        """Mean over the sequence, in which what is said at a lit pixel counts until the next one."""
        inputs, shares, _ = self.read(images)
        return torch.einsum("bt,btc->bc", shares, self(inputs)[..., : len(CLASSES)])


@torch.no_grad()
def begin(reader: Reader, checkpoint: Path) -> None:
    """Take the weights of a network that reads lit pixels with places on 64 channels; these become sines as near as can be.

    The synapses of the second layer, which that network learnt, are taken into the weights behind them: those of the reader are
    all alike.
    """
    network = ulmus.load(checkpoint).model
    for new, old in zip(reader.layers, network.layers, strict=True):
        new.tau_memory.raw.copy_(new.tau_memory.unconstrain(old.tau_memory().double()))
        for own, layer in zip(new.mlp, old.mlp, strict=True):
            own.bias.copy_(layer.bias)
        new.mlp[1].weight.copy_(old.mlp[1].weight)
    side = reader.places.side
    channels, shares = LitPixels(side, LEVELS)._places
    of_place = np.zeros((side, PLACES))
    np.put_along_axis(of_place, channels, shares, axis=1)
    weight, grays = network.layers[0].mlp[0].weight.double().numpy(), LEVELS - 1
    columns, rows = (of_place @ weight[:, grays + k * PLACES :][:, :PLACES].T for k in (0, 1))
    wanted = (rows[:, None] + columns[None]).reshape(side**2, -1)
    table = np.column_stack([np.ones(side**2), reader.places.table()])
    fitted = np.linalg.lstsq(table, wanted, rcond=None)[0]
    first = [weight[:, :grays], fitted[1:].T, weight[:, grays + 2 * PLACES :]]
    reader.layers[0].mlp[0].weight.copy_(torch.from_numpy(np.concatenate(first, axis=1)))
    reader.layers[0].mlp[0].bias += torch.from_numpy(SYNAPSE * fitted[0])
    second = network.layers[1].mlp[0].weight.clone()
    second[:, : reader.units] *= network.layers[1].synapses.weights()[:, 0] / SYNAPSE
    reader.layers[1].mlp[0].weight.copy_(second)
    for new, old in zip(reader.norms, network.norms, strict=True):
        new.weight.copy_(old.weight * math.sqrt(reader.units / (reader.units + reader.silent)))
        new.bias.copy_(old.bias)
    reader.readout.load_state_dict(network.readout.state_dict())


class _Pixels(torch.utils.data.Dataset[Any]):
    """Batches of training images with labels and hints, in an order of their seed."""

    def __init__(self, train: Sequences, steps: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        epochs = -(-steps * BATCH // len(train))
        order = np.concatenate([random.permutation(len(train)) for _ in range(epochs)])
        self._train, self._order = train, order[: steps * BATCH].reshape(steps, BATCH)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        items = self._order[step].tolist()
        images, hints = (
            np.stack([of(item) for item in items]) for of in (self._train.read, self._train.hints)
        )
        labels = torch.from_numpy(self._train.labels[items])
        return torch.from_numpy(images), labels, torch.from_numpy(hints)


def learn(reader: Reader, train: Sequences, steps: int, rate: float, seed: int) -> None:
    """Go on learning from lit pixels: labels, and hints with three times their weight, as in the recipe of the network."""
    optimiser = torch.optim.Adam(reader.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 100) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    # Two, because making hints takes three times as long as learning from them.
    loader = torch.utils.data.DataLoader(_Pixels(train, steps, seed), batch_size=None, num_workers=2)
    right, began = 0, time.process_time()
    for step, (images, labels, hints) in enumerate(loader, 1):
        inputs, shares, lit = reader.read(images)
        outputs = reader(inputs)
        logits = torch.einsum("bt,btc->bc", shares, outputs[..., : len(CLASSES)])
        told = pad_sequence([row[here] for row, here in zip(hints, lit, strict=True)], batch_first=True)
        known = told > 0
        of_hints = functional.cross_entropy(outputs[..., len(CLASSES) :][known], told[known].long() - 1)
        loss = functional.cross_entropy(logits, labels) + 3 * of_hints
        optimiser.zero_grad()
        loss.backward()
        if nn.utils.clip_grad_norm_(reader.parameters(), 1.0) < 50:
            optimiser.step()
        schedule.step()
        right += int((logits.argmax(dim=1) == labels).sum())
        if step % 200 == 0:
            seconds = time.process_time() - began
            say(
                f"{step} of {steps} steps: {right / 200 / BATCH:.1%} of training images, {seconds:.0f} s of CPU time, hints apart"
            )
            right = 0


_Weights = list[tuple[Any, Any]]
"""Where, and what weight; zero elsewhere."""


class _Layer:
    """The inner layers of a neuron, made unit by unit."""

    def __init__(self, inputs: int, tau_ms: Float64[np.ndarray, "memory"]) -> None:
        neuron = ulmus.ELM(1, memory=len(tau_ms), **OPTIONS, tau_memory_ms=(AT_ONCE_MS, LONGEST_MS))
        self.raw = neuron.tau_memory.unconstrain(torch.from_numpy(tau_ms)).to(neuron.tau_memory.raw)
        with torch.no_grad():
            neuron.tau_memory.raw.copy_(self.raw)
            weights = neuron.weights()
        self.decay, self.gain = weights.memory_decay.double().numpy(), weights.memory_gain.double().numpy()
        self.inputs, self.memory, self.bias = inputs, len(tau_ms), np.zeros(len(tau_ms))
        self._units: list[tuple[Any, float, Any]] = []

    @property
    def per_proposal(self) -> Float64[np.ndarray, "memory"]:
        """What a small proposal adds to memory: gain_t * 1.7159 * 2/3 of it."""
        return self.gain * 1.7159 * 2 / 3

    def unit(self, inputs: _Weights, memory: _Weights, bias: float, to: _Weights) -> None:
        """A hidden unit: its weights for inputs and memory, and those of the proposals for it."""
        row, column = np.zeros(self.inputs + self.memory), np.zeros(self.memory)
        for part, weights in ((row[: self.inputs], inputs), (row[self.inputs :], memory), (column, to)):
            for at, value in weights:
                part[at] = value
        self._units.append((row, bias, column))

    def odd(self, inputs: _Weights, memory: int, scale: float, bias: float, to: _Weights) -> None:
        """silu(scale u + bias) - silu(bias - scale u) of a memory unit u, by two hidden units."""
        for sign in (1, -1):
            self.unit(inputs, [(memory, sign * scale)], bias, [(at, sign * value) for at, value in to])

    def __len__(self) -> int:
        return len(self._units)

    def write(self, neuron: ulmus.ELM) -> None:
        """Give a neuron these weights; units that it has more stay silent."""
        rows, biases, columns = map(np.array, zip(*self._units, strict=True))
        first, second = neuron.mlp
        for tensor in (first.weight, first.bias, second.weight):
            tensor.zero_()
        first.weight[: len(self)] = torch.from_numpy(rows)
        first.bias[: len(self)] = torch.from_numpy(biases)
        second.weight[:, : len(self)] = torch.from_numpy(columns.T)
        second.bias.copy_(torch.from_numpy(self.bias))
        neuron.tau_memory.raw.copy_(self.raw)


def _silu(x: Any) -> Any:
    return x / (1 + np.exp(-np.clip(x, -80, 80)))


class Hold(NamedTuple):
    """A pair of hidden units that keeps a memory unit in the dark: ``share (silu(scale u + bias) - silu(bias - scale u))``."""

    scale: float
    bias: float
    share: float


def hold(decay: float, gain: float, largest: float) -> tuple[list[Hold], float]:
    """What keeps a memory unit of at most this size nearest to where it is, and the root mean square of its relative change.

    ::

        decay m + gain 1.7159 tanh(2/3 sum of pairs(decay m)) = m
    """
    memory = np.linspace(0, largest, 101)[1:]
    lost = np.clip((1 - decay) * memory / (1.7159 * gain), 0, 0.99)
    wanted = 1.5 * np.arctanh(lost)
    weight = gain * 1.7159 * 2 / 3 * (1 - lost**2) / memory  # of a proposal's error, relative to the memory
    scales = np.geomspace(0.5, 16, 24) / largest
    few = [[(scale, bias)] for bias in (0.0, 4.0, 6.0, 8.0, 10.0) for scale in scales]
    many = [[(1.0, 0.0), (scale, bias)] for bias in (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0) for scale in scales]
    many += [[(a, bias), (b, bias)] for bias in (4.0, 6.0, 8.0) for a in scales for b in scales if a < b]

    def best(choices: list[list[tuple[float, float]]]) -> tuple[float, list[Hold]]:
        found: tuple[float, list[Hold]] = (np.inf, [])
        for pairs in choices:
            given = np.stack(
                [_silu(s * decay * memory + b) - _silu(b - s * decay * memory) for s, b in pairs], axis=1
            )
            share = np.linalg.lstsq(given * weight[:, None], wanted * weight, rcond=None)[0]
            kept = decay * memory + gain * 1.7159 * np.tanh(2 / 3 * given @ share)
            error = float(np.sqrt(np.mean((kept / memory - 1) ** 2)))
            if np.abs(share).max() < 20 and error < found[0]:
                found = error, [Hold(s, b, float(c)) for (s, b), c in zip(pairs, share, strict=True)]
        return found

    error, pairs = best(few)
    if error > 1e-4:  # two pairs, for what decays fast
        error, pairs = best(many)
    return pairs, error


class _Parts(NamedTuple):
    """Which memory units of the network are what."""

    own: slice
    """Those of the reader."""
    clocks: slice
    dark: int
    zero: int
    light: int


def _add_reader(
    layer: _Layer,
    neuron: ulmus.ELM,
    first: list[tuple[_Weights, _Weights, float]],
    own: slice,
    in_dark: _Weights,
) -> None:
    """Hidden units of the reader, which are silent in the dark, with the weights of each for inputs and memory, and its bias."""
    _, second = neuron.mlp
    for (inputs, memory, bias), column in zip(first, second.weight.double().numpy().T, strict=True):
        layer.unit([*inputs, *in_dark], memory, bias, [(own, column)])
    # The bias of the proposals holds for lit pixels alone, so it comes from a unit that is silent in the dark too.
    layer.unit(in_dark, [], ON, [(own, second.bias.double().numpy() / _silu(ON))])


def _add_holds(layer: _Layer, largest: Float64[np.ndarray, "units"], in_light: _Weights) -> None:
    for unit, size in enumerate(largest):
        for pair in hold(layer.decay[unit], layer.gain[unit], max(size, 0.1))[0]:
            layer.odd(in_light, unit, pair.scale, pair.bias, [(unit, pair.share)])


def _add_clocks(layer: _Layer, places: Places, first: int) -> None:
    """Pairs of memory units that turn around (RADIUS, 0), from rest: after t steps, (1 - cos, -sin) of t angles, times RADIUS."""
    for number, angle in enumerate(places.angles):
        pair = [first + 2 * number, first + 2 * number + 1]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        step = (turn / layer.decay[pair] - np.eye(2)) / layer.per_proposal[pair][:, None]
        for axis, unit in enumerate(pair):
            layer.odd([], unit, 1 / RADIUS, 0.0, [(pair, RADIUS * step[:, axis])])
        layer.bias[pair] = (np.eye(2) - turn) @ [RADIUS, 0] / layer.per_proposal[pair]


def _first_layer(reader: Reader, units: _Parts, largest: Float64[np.ndarray, "units"]) -> _Layer:
    neuron, lit = reader.layers[0], slice(1, LEVELS)
    tau_ms = np.full(reader.units + reader.silent, AT_ONCE_MS)
    tau_ms[units.own], tau_ms[units.clocks] = neuron.tau_memory().double(), CLOCK_MS
    layer = _Layer(LEVELS, tau_ms)
    # What a hidden unit sees of a clock when a pixel is read, after the decay of a step.
    radius = RADIUS * layer.decay[units.clocks].reshape(-1, 2)
    hidden = []
    first = neuron.mlp[0]
    for row, bias in zip(first.weight.double().numpy(), first.bias.double().numpy(), strict=True):
        gray, places, memory = np.split(row, [LEVELS - 1, LEVELS - 1 + reader.places.count])
        of_places = SYNAPSE * places.reshape(-1, 2)
        of_clocks = (-of_places / radius).reshape(-1)
        seen = [(units.own, memory), (units.clocks, of_clocks)]
        hidden.append(([(lit, gray)], seen, float(bias + of_places[:, 0].sum())))
    _add_reader(layer, neuron, hidden, units.own, [(0, -OFF)])
    _add_holds(layer, largest, [(lit, -OFF)])
    _add_clocks(layer, reader.places, units.clocks.start)
    of_signal = np.arctanh(SIGNAL / 1.7159) * 1.5 / _silu(ON)
    layer.unit([(0, 2 * ON)], [], 0.0, [(units.dark, of_signal)])
    layer.unit([(lit, 2 * ON)], [], 0.0, [(units.light, of_signal)])
    return layer


def _second_layer(reader: Reader, units: _Parts, largest: Float64[np.ndarray, "units"]) -> _Layer:
    neuron = reader.layers[1]
    tau_ms = np.full(reader.units + reader.silent, AT_ONCE_MS)
    tau_ms[units.own] = neuron.tau_memory().double()
    layer = _Layer(len(tau_ms), tau_ms)
    first = neuron.mlp[0]
    hidden = [
        ([(units.own, row[: reader.units])], [(units.own, row[reader.units :])], float(bias))
        for row, bias in zip(first.weight.double().numpy(), first.bias.double().numpy(), strict=True)
    ]
    # It sees the signals normalised; beside one that is always zero, so that the mean of all does not switch.
    loud = OFF / SIGNAL
    _add_reader(layer, neuron, hidden, units.own, [(units.dark, -loud), (units.zero, loud)])
    _add_holds(layer, largest, [(units.light, -loud), (units.zero, loud)])
    return layer


@torch.no_grad()
def translate(reader: Reader, images: UInt8[Tensor, "batch pixels"]) -> ulmus.Classifier:
    """The network that reads every pixel; images say how large the reader's memory becomes."""
    inputs, shares, _ = reader.read(images)
    largest = [
        np.quantile(memory[shares > 0].abs().double(), 0.998, axis=0) for memory in reader.memories(inputs)
    ]
    ends = np.cumsum([0, reader.units, reader.places.count])
    units = _Parts(slice(*ends[:2]), slice(*ends[1:]), *range(ends[2], ends[2] + SIGNALS))
    layers = [_first_layer(reader, units, largest[0]), _second_layer(reader, units, largest[1])]
    network = ulmus.ELMNetwork(
        LEVELS,
        reader.readout.out_features,
        layers=2,
        norm=True,
        memory=reader.units + reader.silent,
        hidden=max(map(len, layers)),
        tau_memory_ms=(AT_ONCE_MS, LONGEST_MS),
        dtype=reader.table.dtype,
        **OPTIONS,
    )
    for neuron, layer in zip(network.layers, layers, strict=True):
        layer.write(neuron)
    for norm, of_reader in zip(network.norms, reader.norms, strict=True):
        norm.weight[units.own], norm.bias[units.own] = of_reader.weight, of_reader.bias
    network.readout.weight.zero_()
    network.readout.weight[:, units.own] = reader.readout.weight
    network.readout.bias.copy_(reader.readout.bias)
    return ulmus.Classifier(network, CLASSES, reading="mean", hints=len(HINTS))


def _reader_accuracy(reader: Reader, sequences: Sequences, count: int) -> float:
    found = 0
    with torch.no_grad():
        for items in np.array_split(np.arange(count), -(-count // 50)):
            images = torch.from_numpy(np.stack([sequences.read(int(item)) for item in items]))
            found += int((reader.classes(images).argmax(dim=1).numpy() == sequences.labels[items]).sum())
    return found / count


def run(
    data: Path,
    folder: Path,
    steps: int = 8000,
    rate: float = 1e-3,
    seed: int = 0,
    split: Literal["validation", "test"] = "validation",
) -> None:
    """Learn, translate and score.

    Args:
        data: Folder of the images.
        folder: Where the reader, the network and its scores are, or will be.
        steps: Of learning, 32 images each.
        rate: Of learning, at its start.
        seed: Of the order of the images.
        split: What is scored.
    """
    check_sizes(steps=steps)
    torch.set_num_threads(1)
    settings, asked = folder / "settings.json", {"steps": steps, "rate": rate, "seed": seed}
    if settings.exists() and (held := read_json(settings)) != asked:
        of = ", ".join(f"{name}={value}" for name, value in held.items())
        raise ConfigError(
            f"{folder} holds what was learnt with {of}; expected the same. Give another folder."
        )
    splits = pathfinder_x_splits(data)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(settings, asked)
    reader, of_reader, of_network = (
        Reader(Places()),
        folder / "reader.safetensors",
        folder / "network.safetensors",
    )
    if not of_network.exists():
        if of_reader.exists():
            reader.load_state_dict(load_file(of_reader))
        else:
            begin(reader, LIT)
            say(
                f"the reader begins at {_reader_accuracy(reader, splits.validation, 1000):.1%} of 1,000 validation images"
            )
            learn(reader, splits.train, steps, rate, seed)
            save_file(reader.state_dict(), of_reader)
            say(f"the reader ends at {_reader_accuracy(reader, splits.validation, 1000):.1%}")
        images = torch.from_numpy(np.stack([splits.train.read(item) for item in range(50)]))
        ulmus.save(translate(reader, images), of_network)
    network = ulmus.load(of_network)
    held_out: Sequences = getattr(splits, split)
    began = time.process_time()
    scores = evaluate_classes(network, SequenceBatches(held_out, GrayBins(LEVELS), BATCH), _progress)
    scores |= {"data": held_out.name, "split": split, "cpu_seconds": round(time.process_time() - began, 1)}
    write_json(folder / f"{split}.json", scores)
    say(
        f"{split}: {scores['accuracy']:.2%} of {scores['sequences']:,}, standard error {scores['accuracy_standard_error']:.2%}"
    )


def _progress(done: int, of: int) -> None:
    if done % 50 == 0:
        say(f"{done} of {of} batches")


if __name__ == "__main__":
    start(run)
