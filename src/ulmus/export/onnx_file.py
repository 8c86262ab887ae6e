"""Models as ONNX: one Scan over time for every neuron, weights inside, state in and out."""

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ulmus.errors import ConfigError, extra
from ulmus.files.writing import write_file
from ulmus.kernels.weights import BOUND, SLOPE
from ulmus.neuron import ELM, Classifier, ELMNetwork, Surrogate
from ulmus.neuron.evaluating import evaluating

_OPSET, _FORMAT = 18, 10  # read by every onnxruntime of the last years


class _Graph:
    """Nodes and constants of a graph that is being made; what it computes are names."""

    def __init__(self, outside: "_Graph | None" = None) -> None:
        self.nodes: list[Any] = []
        # The body of a Scan sees the names and constants outside.
        self.constants: dict[str, np.ndarray] = outside.constants if outside else {}
        self.number: Iterator[int] = outside.number if outside else count()

    def add(self, operator: str, *inputs: str, outputs: int | Sequence[str] = 1, **attributes: Any) -> Any:
        """One node; the name of what it computes, or names."""
        from onnx import helper

        names = outputs
        if isinstance(names, int):
            names = [f"{operator.lower()}_{next(self.number)}" for _ in range(names)]
        self.nodes.append(helper.make_node(operator, list(inputs), list(names), **attributes))
        return names[0] if len(names) == 1 else names

    def constant(self, values: Any) -> str:
        """A constant tensor."""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.array(array, order="C")
        return name

    def linear(self, x: str, weight: Tensor, bias: Tensor) -> str:
        """``W x + b`` of the last axis."""
        return cast(
            str, self.add("Add", self.add("MatMul", x, self.constant(weight.t())), self.constant(bias))
        )


class _File:
    """What the whole file takes and gives."""

    def __init__(self) -> None:
        self.graph = _Graph()
        self.inputs: list[tuple[str, list[Any]]] = []
        self.outputs: list[tuple[str, list[Any]]] = []
        self.states = 0

    def give(self, name: str, value: str, shape: list[Any]) -> None:
        """Make a value an output of the file, by this name."""
        self.graph.add("Identity", value, outputs=[name])
        self.outputs.append((name, shape))

    def neuron(self, elm: ELM, x: str) -> str:
        """Outputs of a neuron for every step; its state goes in and comes out by names of its own."""
        memory = [self._one_way(part, x, reverse) for part, reverse in _directions(elm)]
        seen = memory[0] if len(memory) == 1 else self.graph.add("Concat", *memory, axis=-1)
        readout = elm.readout
        return seen if readout is None else self.graph.linear(seen, *_exact(readout.weight, readout.bias))

    def _one_way(self, elm: ELM, x: str, reverse: bool) -> str:
        graph, weights = self.graph, elm.weights()
        dtype = weights.memory_decay.dtype
        weights = weights.to(dtype)
        one_each = weights.synapses.dim() == 1
        currents = graph.add(
            "Mul" if one_each else "MatMul",
            x,
            graph.constant(weights.synapses if one_each else weights.synapses.t()),
        )
        number = f"_{self.states}" if self.states else ""
        self.states += 1
        names = [f"branches{number}", f"memory{number}"]
        widths = [elm.branches, elm.memory]
        self.inputs += [(name, ["batch", width]) for name, width in zip(names, widths, strict=True)]
        body, hidden = self._step(elm, weights)
        found = graph.add(
            "Scan", *names, currents, outputs=2 + (2 if hidden else 1), body=body, num_scan_inputs=1, scan_input_axes=[1],
            scan_output_axes=[1] * (2 if hidden else 1), scan_input_directions=[int(reverse)],
            scan_output_directions=[int(reverse)] * (2 if hidden else 1),
        )  # fmt: skip
        for name, value, width in zip(names, found, widths, strict=False):
            self.give(f"{name}_after", value, ["batch", width])
        return cast(str, graph.add("Concat", *found[2:], axis=-1) if hidden else found[2])

    def _step(self, elm: ELM, weights: Any) -> tuple[Any, bool]:
        """One step of the recurrence, as the body of a Scan: see `ulmus.kernels.reference`."""
        from onnx import helper

        step = _Graph(self.graph)
        branches = step.add(
            "Add", "current", step.add("Mul", step.constant(weights.branch_decay), "before_branches")
        )
        decayed = step.add("Mul", step.constant(weights.memory_decay), "before_memory")
        first = torch.cat([weights.projection, weights.recurrent], dim=1)
        hidden = ""
        layer = step.linear(step.add("Concat", branches, decayed, axis=-1), first, weights.first_bias)
        for weight, bias in weights.later:
            hidden = _activation(step, elm.activation, layer)
            layer = step.linear(hidden, weight, bias)
        kind = weights.memory_decay.dtype
        slope, bound = (step.constant(torch.tensor(value, dtype=kind)) for value in (SLOPE, BOUND))
        proposal = step.add("Mul", bound, step.add("Tanh", step.add("Mul", slope, layer)))
        memory = step.add("Add", decayed, step.add("Mul", step.constant(weights.memory_gain), proposal))
        results = [branches, memory, step.add("Identity", memory)]
        if elm.hidden_readout:
            results.append(step.add("Identity", hidden))
        element = helper.np_dtype_to_tensor_dtype(np.dtype(str(kind).removeprefix("torch.")))
        given = ("before_branches", "before_memory", "current")
        body = helper.make_graph(
            step.nodes,
            "step",
            [helper.make_tensor_value_info(name, element, None) for name in given],
            [helper.make_tensor_value_info(name, element, None) for name in results],
        )
        return body, elm.hidden_readout

    def network(self, network: ELMNetwork, x: str) -> str:
        """Outputs of stacked neurons for every step."""
        graph, hidden = self.graph, ""
        layers, norms = cast(list[ELM], list(network.layers)), list(network.norms)
        for number, layer in enumerate(layers):
            seen = x if number == 0 else self._normalised(norms[number - 1], hidden)
            added = self.neuron(layer, seen)
            if network._memory_sizes is not None:
                added = graph.add("Div", added, graph.constant(_exact(network._memory_sizes)[0]))
            hidden = graph.add("Add", hidden, added) if number and network.residual else added
        hidden = self._normalised(norms[-1], hidden)
        if isinstance(network.readout, nn.Linear):
            return graph.linear(hidden, *_exact(network.readout.weight, network.readout.bias))
        return hidden

    def _normalised(self, norm: nn.Module, x: str) -> str:
        if isinstance(norm, nn.Identity):
            return x
        norm = cast(nn.LayerNorm, norm)
        scale, bias = (self.graph.constant(part) for part in _exact(norm.weight, norm.bias))
        return cast(str, self.graph.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=norm.eps))

    def model(self, model: Any, x: str) -> str:
        """Outputs of a neuron or network for every step."""
        if isinstance(model, ELMNetwork):
            return self.network(model, x)
        if isinstance(model, ELM):
            return self.neuron(model, x)
        raise ConfigError(
            f"a {type(model).__name__} cannot be written as ONNX; expected an ELM, an ELMNetwork, or a Surrogate or Classifier "
            "of one. Use torch.onnx.export for other models."
        )

    def surrogate(self, surrogate: Surrogate, x: str) -> None:
        """Spike probability, voltage in mV, and further signals, each under its name and in its unit."""
        outputs, graph = self.model(surrogate.neuron, x), self.graph
        kind = _type(surrogate)

        def part(first: int, last: int) -> str:
            edges = [graph.constant(np.array([edge])) for edge in (first, last, -1)]
            return cast(str, graph.add("Slice", outputs, *edges))

        logit = graph.add("Squeeze", part(0, 1), graph.constant(np.array([-1])))
        self.give("spike_probability", graph.add("Sigmoid", logit), ["batch", "time"])

        def decoded(values: str, scale: Any, offset: Any) -> str:
            parts = (graph.constant(torch.tensor(value, dtype=kind)) for value in (scale, offset))
            return cast(str, graph.add("Add", graph.add("Div", values, next(parts)), next(parts)))

        sites = len(surrogate.sites)
        units = surrogate.site_units if len(set(surrogate.site_units)) > 1 else [surrogate.units]
        scales, offsets = [one.scale_per_mv for one in units], [one.offset_mv for one in units]
        self.give("voltage_mv", decoded(part(1, 1 + sites), scales, offsets), ["batch", "time", sites])
        for number, signal in enumerate(surrogate.signals, 1 + sites):
            one = graph.add("Squeeze", part(number, number + 1), graph.constant(np.array([-1])))
            self.give(signal.name, decoded(one, signal.scale, signal.offset), ["batch", "time"])

    def classifier(self, classifier: Classifier, x: str) -> None:
        """Logits of the classes of whole sequences."""
        outputs, graph = self.model(classifier.model, x), self.graph
        width = cast(int, classifier.model.outputs) - classifier.hints
        ends = [graph.constant(np.array([value])) for value in (0, width, -1)]
        told = graph.add("Slice", outputs, *ends)
        if classifier.reading == "last":
            read = graph.add("Gather", told, graph.constant(np.array(-1)), axis=1)
        else:
            read = graph.add("ReduceMean", told, graph.constant(np.array([1])), keepdims=0)
        if classifier.towers == 2:
            first, second = graph.add("Split", read, outputs=2, axis=0, num_outputs=2)
            apart, both = graph.add("Sub", first, second), graph.add("Mul", first, second)
            read = graph.add("Concat", first, second, apart, both, axis=-1)
            compare = cast(nn.Sequential, classifier.head)
            hidden, last = cast(nn.Linear, compare[0]), cast(nn.Linear, compare[2])
            read = graph.add("Relu", graph.linear(read, *_exact(hidden.weight, hidden.bias)))
            read = graph.linear(read, *_exact(last.weight, last.bias))
        self.give(
            "logits", read, ["sequences" if classifier.towers == 2 else "batch", len(classifier.classes)]
        )


def write_onnx(model: nn.Module, path: Path) -> None:
    """Write a neuron, network, surrogate or classifier to one file.

    Raises:
        ConfigError: a model of another kind, or one whose layers were changed.
        MissingToolError: the package onnx is not installed.
    """
    with extra("export", "an ONNX file"):
        import onnx
        from onnx import helper, numpy_helper
    file = _File()
    reads: Any = (
        model.neuron
        if isinstance(model, Surrogate)
        else model.model
        if isinstance(model, Classifier)
        else model
    )
    file.inputs.append(("inputs", ["batch", "time", getattr(reads, "inputs", 0)]))
    with evaluating(model), torch.no_grad():
        if isinstance(model, Surrogate):
            file.surrogate(model, "inputs")
        elif isinstance(model, Classifier):
            file.classifier(model, "inputs")
        else:
            file.give("outputs", file.model(model, "inputs"), ["batch", "time", None])
    element = helper.np_dtype_to_tensor_dtype(np.dtype(str(_type(model)).removeprefix("torch.")))
    graph = helper.make_graph(
        file.graph.nodes,
        "ulmus",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in file.inputs],
        [helper.make_tensor_value_info(name, element, shape) for name, shape in file.outputs],
        [numpy_helper.from_array(array, name) for name, array in file.graph.constants.items()],
    )
    made = helper.make_model(
        graph, producer_name="ulmus", ir_version=_FORMAT, opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    helper.set_model_props(made, _notes(model, reads))
    onnx.checker.check_model(made, full_check=True)
    write_file(path, lambda at: at.write_bytes(made.SerializeToString()))


def _activation(graph: _Graph, name: str, x: str) -> str:
    if name == "silu":
        return cast(str, graph.add("Mul", x, graph.add("Sigmoid", x)))
    rectified = graph.add("Relu", x)
    return cast(str, graph.add("Mul", rectified, rectified) if name == "squared_relu" else rectified)


def _directions(elm: ELM) -> list[tuple[ELM, bool]]:
    return [(elm, False)] if elm.reverse is None else [(elm, False), (elm.reverse, True)]


def _type(model: nn.Module) -> torch.dtype:
    """What the file computes in: single precision at least, as the model itself."""
    dtype = next(parameter.dtype for parameter in model.parameters())
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _exact(*values: Tensor) -> tuple[Tensor, ...]:
    return tuple(
        value.float() if value.dtype in (torch.bfloat16, torch.float16) else value for value in values
    )


def _notes(model: Any, reads: Any) -> dict[str, str]:
    """What a reader of the file should know, as texts."""
    notes: dict[str, Any] = {"dt_ms": reads.dt_ms}
    if isinstance(model, Surrogate):
        notes |= {"sites": list(model.sites), "spike_threshold": model.spike_threshold}
    if isinstance(model, Classifier):
        notes["classes"] = list(model.classes)
    return {name: json.dumps(value) for name, value in notes.items()}
