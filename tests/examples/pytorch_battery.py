"""What PyTorch does with its own recurrent layer, tried on that and on ours: one function for each feature.

Every function is given a `Kind` and returns nothing where the feature works, or a remark. It raises where it does not work; what
raises an error of Ulmus, which says what to do instead, counts as refused. `python tests/examples/pytorch_battery.py` writes the
table into docs/pytorch.md.
"""

import copy
import io
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune, rnn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

import ulmus

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytorch.md"
BATCH, TIME, INPUTS, MEMORY = 4, 12, 6, 5


class Kind(NamedTuple):
    """A layer of one of the two kinds."""

    name: str
    make: Callable[..., Any]
    linear: str | None
    """A part of it that is an `nn.Linear`."""
    weight: tuple[str, str]
    """Part and name of a weight."""

    def layer(self, **options: Any) -> Any:
        """With the same values every time."""
        torch.manual_seed(0)
        return self.make(**options)


LSTM = Kind("nn.LSTM", lambda **o: nn.LSTM(INPUTS, MEMORY, batch_first=True, **o), None, ("", "weight_hh_l0"))
ELM = Kind("ulmus.ELM", lambda **o: ulmus.ELM(INPUTS, memory=MEMORY, **o), "mlp.0", ("mlp.0", "weight"))
KINDS = (LSTM, ELM)


def x(batch: int = BATCH, time: int = TIME, **options: Any) -> torch.Tensor:
    """Input."""
    return torch.randn(batch, time, INPUTS, generator=torch.Generator().manual_seed(1)).to(**options)


def close(one: Any, other: Any, **tolerance: float) -> None:
    """Both are the same numbers."""
    pairs = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, **tolerance)


def streaming(kind: Kind) -> None:
    """Two calls with the state between them are one long call."""
    layer = kind.layer()
    whole, last = layer(x())
    first, state = layer(x()[:, :5])
    second, after = layer(x()[:, 5:], state)
    close((torch.cat([first, second], 1), after), (whole, last))


def tuple_state(kind: Kind) -> None:
    """A plain tuple as state."""
    layer = kind.layer()
    state = layer(x())[1]
    close(layer(x(), tuple(state)), layer(x(), state))


def no_sequences(kind: Kind) -> None:
    """A batch of no sequences."""
    y, _ = kind.layer()(x(batch=0))
    assert y.shape == (0, TIME, MEMORY)
    y.sum().backward()


def no_steps(kind: Kind) -> None:
    """Sequences of no steps."""
    y, _ = kind.layer()(x(time=0))
    assert y.shape == (BATCH, 0, MEMORY)


def packed(kind: Kind) -> None:
    """A PackedSequence: padding does not count."""
    layer, lengths = kind.layer(), [12, 3, 1, 7]
    given = rnn.pack_padded_sequence(x(), torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    y, _ = rnn.pad_packed_sequence(layer(given)[0], batch_first=True)
    for row, length in enumerate(lengths):
        close(y[row, :length], layer(x()[row : row + 1, :length])[0][0])


def lengths(kind: Kind) -> None:
    """`lengths=`: padding does not count, even if it is not a number."""
    layer, steps = kind.layer(), torch.tensor([12, 3, 0, 7])
    padded = x().masked_fill((torch.arange(TIME) >= steps[:, None]).unsqueeze(-1), float("nan"))
    y, state = layer(padded.requires_grad_(), lengths=steps)
    y.sum().backward()
    for row, length in enumerate(steps):
        alone, after = layer(x()[row : row + 1, :length])
        close((y[row, :length], state.memory[row]), (alone[0], after.memory[0]))
        assert not y[row, length:].any()
        assert not padded.grad[row, length:].any()
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters() if p.requires_grad)


def bidirectional(kind: Kind) -> None:
    """`bidirectional=True`, with a PackedSequence too."""
    layer = kind.layer(bidirectional=True)
    y, _ = layer(x())
    assert y.shape == (BATCH, TIME, 2 * MEMORY)
    changed = x()
    changed[:, -1] += 1
    assert not torch.equal(layer(changed)[0][:, 0], y[:, 0])
    given = rnn.pack_padded_sequence(x(), torch.tensor([12, 3, 1, 7]), batch_first=True, enforce_sorted=False)
    close(rnn.pad_packed_sequence(layer(given)[0], batch_first=True)[0][1, :3], layer(x()[1:2, :3])[0][0])


def several_layers(kind: Kind) -> str | None:
    """Several layers, with the same call."""
    stack = (
        kind.layer(num_layers=3)
        if kind is LSTM
        else ulmus.ELMNetwork(INPUTS, MEMORY, layers=3, memory=MEMORY)
    )
    given = rnn.pack_padded_sequence(x(), torch.tensor([12, 3, 1, 7]), batch_first=True, enforce_sorted=False)
    y, state = stack(given)
    close(stack(given, state)[0].data.shape, y.data.shape)
    return None if kind is LSTM else "`ulmus.ELMNetwork(layers=)`"


def device_and_type(kind: Kind) -> None:
    """`device=` and `dtype=`."""
    layer = kind.layer(device="cpu", dtype=torch.float64)
    assert layer(x(dtype=torch.float64))[0].dtype == torch.float64
    assert {p.dtype for p in layer.parameters()} == {torch.float64}


def meta(kind: Kind) -> None:
    """Made on `meta`, then `to_empty` and `reset_parameters`."""
    with torch.device("meta"):
        layer = kind.layer()
    assert all(p.is_meta for p in layer.parameters())
    layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    close(layer(x()), kind.layer()(x()))


def copies(kind: Kind) -> None:
    """`copy.deepcopy` and `pickle`."""
    layer = kind.layer()
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        close(copied(x()), layer(x()))


def state_dict(kind: Kind) -> None:
    """A module of one's own that contains it, saved and loaded by `state_dict`."""

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = kind.layer(), nn.Linear(MEMORY, 2)

    one, other = Mine(), Mine()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(0.01)
    buffer = io.BytesIO()
    torch.save(one.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    close(other.inner(x()), one.inner(x()))


def compiled(kind: Kind, dtype: torch.dtype = torch.float32, autocast: bool = False) -> None:
    """`torch.compile(fullgraph=True)`, forward and backward."""
    torch._dynamo.reset()
    layer = kind.layer(dtype=dtype)
    faster = torch.compile(layer, fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y, _ = faster(x(dtype=dtype))
        close(y.float(), layer(x(dtype=dtype))[0].float(), atol=1e-2 if autocast else 1e-5, rtol=1e-2)
    y.float().sum().backward()


def compiled_half(kind: Kind) -> None:
    """The same with parameters in bfloat16."""
    compiled(kind, torch.bfloat16)


def compiled_autocast(kind: Kind) -> None:
    """The same under autocast."""
    compiled(kind, autocast=True)


def half(kind: Kind) -> str:
    """bfloat16 parameters: error against float64 after 500 steps."""
    layer = kind.layer(dtype=torch.bfloat16)
    return _error(
        layer(x(time=500, dtype=torch.bfloat16))[0],
        copy.deepcopy(layer).double(),
        x(time=500, dtype=torch.bfloat16),
    )


def autocast(kind: Kind) -> str:
    """Autocast to bfloat16: error against float64 after 500 steps."""
    layer = kind.layer()
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = layer(x(time=500))
    return _error(y, copy.deepcopy(layer).double(), x(time=500))


def _error(y: torch.Tensor, exact: nn.Module, given: torch.Tensor) -> str:
    wanted = exact(given.double())[0]
    error = float(((y.double() - wanted).abs().max() / wanted.abs().max()).detach())
    assert error < 0.1
    limits = {"1e-5": 1e-5, "0.004": 4e-3, "0.02": 2e-2, "0.1": 0.1}
    return "below " + next(text for text, limit in limits.items() if error < limit)


def gradients(kind: Kind) -> None:
    """Gradients are those of finite differences."""
    layer = kind.layer(dtype=torch.float64)
    torch.autograd.gradcheck(lambda given: layer(given)[0], (x(2, 4, dtype=torch.float64).requires_grad_(),))


def double_backward(kind: Kind) -> None:
    """Gradients of gradients."""
    layer = kind.layer(dtype=torch.float64)
    torch.autograd.gradgradcheck(
        lambda given: layer(given)[0], (x(2, 4, dtype=torch.float64).requires_grad_(),)
    )


def forward_mode(kind: Kind) -> None:
    """Forward-mode derivatives (`torch.autograd.forward_ad`)."""
    layer, at, along = (
        kind.layer(dtype=torch.float64),
        x(dtype=torch.float64),
        torch.ones(BATCH, TIME, INPUTS).double(),
    )
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(at, along)
        tangent = torch.autograd.forward_ad.unpack_dual(layer(dual)[0]).tangent
    difference = (layer(at + 1e-6 * along)[0] - layer(at - 1e-6 * along)[0]) / 2e-6
    close(tangent, difference, atol=1e-6, rtol=1e-5)


def functional(kind: Kind) -> None:
    """`torch.func`: gradients of every sequence (`vmap` of `grad`)."""
    layer = kind.layer()
    values = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(parameters: Any, one: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, parameters, (one.unsqueeze(0),))[0].square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(values, x())
    layer(x())[0].square().sum().backward()
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad:
            close(each[name].sum(0), parameter.grad, atol=1e-4, rtol=1e-4)


def parametrized(kind: Kind) -> None:
    """`torch.nn.utils.parametrizations.weight_norm`."""
    layer = kind.layer()
    before, (part, name) = layer(x())[0], kind.weight
    parametrizations.weight_norm(layer.get_submodule(part), name)
    close(layer(x())[0], before, atol=1e-5, rtol=1e-4)
    layer(x())[0].sum().backward()
    assert all(p.grad is not None for p in layer.get_submodule(part).parametrizations.parameters())


def pruned(kind: Kind) -> None:
    """`torch.nn.utils.prune`: fewer weights, and gradients for what is left."""
    layer = kind.layer()
    before, (part, name) = layer(x())[0], kind.weight
    prune.l1_unstructured(layer.get_submodule(part), name, amount=0.9)
    after = layer(x())[0]
    assert not torch.allclose(after, before)
    after.sum().backward()
    assert layer.get_submodule(part).get_parameter(name + "_orig").grad.any()


def replaced(kind: Kind) -> str | None:
    """A linear part replaced by one with low-rank additions (LoRA)."""

    class Adapted(nn.Module):
        def __init__(self, inner: nn.Linear) -> None:
            super().__init__()
            self.inner, self.down = inner, nn.Linear(inner.in_features, 2, bias=False)
            self.up = nn.Linear(2, inner.out_features, bias=False)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return self.inner(given) + self.up(self.down(given))

    if kind.linear is None:
        return "has none"
    layer = kind.layer()
    before = layer(x())[0]
    layer.set_submodule(kind.linear, Adapted(layer.get_submodule(kind.linear)))
    assert not torch.allclose(layer(x())[0], before)
    layer(x())[0].sum().backward()
    assert layer.get_submodule(kind.linear).up.weight.grad.any()
    return None


def hooked(kind: Kind) -> str | None:
    """Forward hooks on a linear part are called at every step."""
    if kind.linear is None:
        return "has none"
    layer, calls = kind.layer(), []
    layer.get_submodule(kind.linear).register_forward_hook(lambda *_: calls.append(1))
    layer(x())
    assert len(calls) == TIME
    return None


def quantized(kind: Kind) -> None:
    """`quantize_dynamic` (eight-bit weights)."""
    layer = kind.layer()
    smaller = torch.ao.quantization.quantize_dynamic(copy.deepcopy(layer).eval(), {nn.Linear, nn.LSTM})
    assert type(smaller) is not type(layer) or type(smaller.get_submodule(kind.linear or "")) is not nn.Linear
    close(smaller(x())[0], layer(x())[0], atol=0.1, rtol=0.1)


def traced(kind: Kind) -> None:
    """`torch.jit.trace`."""
    layer = kind.layer().eval()
    close(torch.jit.trace(layer, x())(x()), layer(x()))


def exported(kind: Kind) -> None:
    """`torch.export` for any batch and time, saved and loaded, state in and out."""
    layer = kind.layer().eval()
    state = pytree.tree_map(lambda part: part.detach(), layer(x())[1])
    rows = 0 if kind is ELM else 1
    any_batch = pytree.tree_map(lambda _: {rows: torch.export.Dim.DYNAMIC}, state)
    shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}, any_batch)
    program = torch.export.export(layer, (x(), state), dynamic_shapes=shapes)
    with tempfile.TemporaryDirectory() as folder:
        torch.export.save(program, Path(folder) / "layer.pt2")
        loaded = torch.export.load(Path(folder) / "layer.pt2").module()
    for batch, time in ((1, 3), (7, 700)):
        given = x(batch, time)
        other = layer(given)[1]
        close(loaded(given, other), layer(given, other), atol=1e-5, rtol=1e-4)


def nested(kind: Kind) -> None:
    """A jagged (nested) tensor."""
    given = torch.nested.nested_tensor([x()[0, :3], x()[1, :5]], layout=torch.jagged)
    kind.layer()(given)


def sparse(kind: Kind) -> None:
    """A sparse tensor."""
    kind.layer()(x().to_sparse())


def complex_numbers(kind: Kind) -> None:
    """Complex input."""
    kind.layer()(x().to(torch.complex64))


def counts(kind: Kind) -> str | None:
    """Counts and spikes as bytes (`uint8`)."""
    layer, given = kind.layer(), torch.randint(0, 2, (BATCH, TIME, INPUTS), dtype=torch.uint8)
    close(layer(given), layer(given.float()))
    return None


def checkpointed(kind: Kind) -> None:
    """Activation checkpointing (`torch.utils.checkpoint`)."""
    layer = kind.layer()
    layer(x())[0].sum().backward()
    wanted = [p.grad for p in layer.parameters() if p.requires_grad]
    again = kind.layer()
    checkpoint(again, x(), use_reentrant=False)[0].sum().backward()
    close([p.grad for p in again.parameters() if p.requires_grad], wanted)


def in_threads(kind: Kind) -> None:
    """Several threads at once."""
    layer, wanted, failed = kind.layer(), kind.layer()(x())[0], []

    def work() -> None:
        try:
            for _ in range(20):
                close(layer(x())[0], wanted)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]


def _loaded(kind: Kind, method: str) -> None:
    layer, data = kind.layer(), torch.utils.data.TensorDataset(x())
    for _ in range(2):
        loader = torch.utils.data.DataLoader(
            data, batch_size=2, num_workers=2, multiprocessing_context=method
        )
        for (part,) in loader:
            layer(part)[0].square().sum().backward()
    wanted = kind.layer()
    (2 * wanted(x())[0].square().sum()).backward()
    close([p.grad for p in layer.parameters()], [p.grad for p in wanted.parameters()], atol=1e-4, rtol=1e-4)


def forked(kind: Kind) -> None:
    """Trained from a `DataLoader` with forked workers."""
    _loaded(kind, "fork")


def spawned(kind: Kind) -> None:
    """Trained from a `DataLoader` with spawned workers."""
    _loaded(kind, "spawn")


def at_once(kind: Kind) -> None:
    """Two new processes that begin at once."""
    code = f"from pytorch_battery import answer; answer({kind.name!r})"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            env=_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = {process.communicate(timeout=280)[0] for process in processes}
    assert told == {f"{kind.layer()(x())[0].sum().item()}\n"}


def answer(name: str) -> None:
    """What each of the two does."""
    print(next(kind for kind in KINDS if kind.name == name).layer()(x())[0].sum().item())  # noqa: T201


def _environment(**more: str) -> dict[str, str]:
    places = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": places, **more}


def _distributed(kind: Kind, how: str) -> None:
    """Two processes with half of the batch each get the gradients of one with all of it."""
    code = f"from pytorch_battery import train_in_two; train_in_two({kind.name!r}, {how!r})"
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", code], env=_environment(RANK=str(rank), BATTERY_STORE=f"{folder}/store"),
                stderr=subprocess.PIPE, text=True,
            )
            for rank in (0, 1)
        ]  # fmt: skip
        told = [process.communicate(timeout=280)[1] for process in processes]
        assert all(process.returncode == 0 for process in processes), told


def train_in_two(name: str, how: str) -> None:
    """What each of the two processes does."""
    from torch import distributed
    from torch.distributed.fsdp import fully_shard

    kind, rank = next(kind for kind in KINDS if kind.name == name), int(os.environ["RANK"])
    distributed.init_process_group(
        "gloo", init_method=f"file://{os.environ['BATTERY_STORE']}", rank=rank, world_size=2
    )
    alone = kind.layer()
    layer = kind.layer()
    layer = nn.parallel.DistributedDataParallel(layer) if how == "ddp" else fully_shard(layer)
    optimizers = [
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1) for model in (alone, layer)
    ]
    for _ in range(3):
        losses = alone(x())[0].square().mean(), layer(x()[2 * rank : 2 * rank + 2])[0].square().mean()
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    close(layer(x())[0], alone(x())[0], atol=1e-5, rtol=1e-4)
    distributed.barrier()  # one that ends first closes a connection that the other may still need
    # At once: a group that is taken down holds the interpreter and waits for its thread, which at times waits for it.
    os._exit(0)


def data_parallel(kind: Kind) -> None:
    """`DistributedDataParallel`, two processes."""
    _distributed(kind, "ddp")


def sharded(kind: Kind) -> None:
    """FSDP2 (`fully_shard`), two processes."""
    _distributed(kind, "fsdp")


FEATURES = (
    streaming, tuple_state, no_sequences, no_steps, packed, lengths, bidirectional, several_layers, counts, nested, sparse,
    complex_numbers, device_and_type, meta, copies, state_dict, half, autocast, compiled, compiled_half, compiled_autocast,
    gradients, double_backward, forward_mode, functional, checkpointed, parametrized, pruned, replaced, hooked, quantized,
    traced, exported, in_threads, forked, spawned, at_once, data_parallel, sharded,
)  # fmt: skip
REFUSED = {nested, sparse, complex_numbers, traced}
"""What an ELM refuses, with an error that says what to do."""


OF_THE_PROCESSOR = {half, autocast}
"""How exact `nn.LSTM` is in bfloat16, and whether it runs at all, is another matter without AVX-512."""


def outcome(feature: Callable[[Kind], str | None], kind: Kind) -> str:
    """``yes``, a remark, ``refused`` or ``no``."""
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return feature(kind) or "yes"
    except ulmus.UlmusError:
        return "refused, says what to do"
    except Exception as error:
        if os.environ.get("BATTERY_TELLS"):
            print(kind.name, feature.__name__, type(error).__name__, str(error)[-3000:], file=sys.stderr)  # noqa: T201
        return "no"


def row(feature: Callable[[Kind], str | None], outcomes: list[str]) -> str:
    """A line of the table."""
    what = (feature.__doc__ or "").rstrip(".")
    return f"| {what} | {' | '.join(outcomes)} |"


def rows_on_the_page() -> list[str]:
    """Lines of the table in the documentation, without its head."""
    found = re.search(r"<!-- battery -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1].strip().split("\n")[2:]


def main(names: list[str]) -> None:
    """Write the table; or the lines of these features alone, where the others are known."""
    known = {} if not names else {line.split("|")[1]: line for line in rows_on_the_page()}
    lines = ["| | nn.LSTM | ulmus.ELM |", "|---|---|---|"]
    for feature in FEATURES:
        line = row(feature, ["", ""])
        if names and feature.__name__ not in names:
            lines.append(known[line.split("|")[1]])
        else:
            lines.append(row(feature, [outcome(feature, kind) for kind in KINDS]))
    table = "<!-- battery -->\n" + "\n".join(lines) + "\n<!-- end -->"
    text = PAGE.read_text()
    PAGE.write_text(re.sub(r"<!-- battery -->.*?<!-- end -->", lambda _: table, text, flags=re.DOTALL))


if __name__ == "__main__":
    main(sys.argv[1:])
