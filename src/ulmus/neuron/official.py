"""Neurons trained with the authors' code (AaronSpieler/elmneuron), both of its versions."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ulmus.errors import CheckpointError, closest
from ulmus.files.reading import read_json
from ulmus.files.torch_file import read_torch
from ulmus.neuron.elm import ELM
from ulmus.neuron.surrogate import Surrogate
from ulmus.neuron.within import built_within

_ARGUMENTS = {
    "num_input": "inputs",
    "num_output": "outputs",
    "num_memory": "memory",
    "lambda_value": "gain",
    "mlp_num_layers": "hidden_layers",
    "mlp_hidden_size": "hidden",
    "mlp_activation": "activation",
    "tau_s_value": "tau_synapse_ms",
    "tau_b_value": "tau_synapse_ms",
    "learn_memory_tau": "learn_tau_memory",
    "w_s_value": "synaptic_weight",
    "num_branch": "branches",
    "num_synapse_per_branch": "synapses_per_branch",
    "delta_t": "dt_ms",
}
_ROUTINGS = {None: "dense", "random_routing": "random", "neuronio_routing": "windows"}


def import_official(folder: str | Path) -> Surrogate:
    """The neuron of an authors' checkpoint folder: ``model_config.json`` beside one ``*.pt`` file of weights.

    Args:
        folder: Folder as their training script writes it.

    Returns:
        The surrogate; its `forward` on signed inputs ``[batch, time, inputs]`` gives their outputs.

    Raises:
        CheckpointError: files are missing, unreadable or do not fit each other.

    Example:
        >>> surrogate = ulmus.import_official("checkpoints/num_memory_20")
        >>> surrogate.neuron.memory, surrogate.trainable_parameters()
        (20, 8002)
    """
    folder = Path(folder)
    settings = _read_settings(folder / "model_config.json")
    file = _weights_file(folder)
    state = _read_weights(file)
    neuron = neuron_from_official(settings, state, str(file))
    return Surrogate(neuron, card={"source": f"authors' checkpoint {folder.name}"})


def is_official(folder: Path) -> bool:
    """Whether a folder looks like an authors' checkpoint."""
    return (folder / "model_config.json").is_file()


def neuron_from_official(settings: dict[str, Any], state: dict[str, Tensor], origin: str) -> ELM:
    """An ELM from the authors' constructor arguments and their state dict.

    The keys tell the version: ``tau_s`` (decay per synapse, published gain) or ``tau_b`` (decay per branch, bounded
    gain). Synapses of a branch that share their time constant may be summed before the decay, which is how Ulmus
    computes both.

    Raises:
        CheckpointError: an unknown argument, a missing tensor, or synapses of one branch that decay differently.
    """
    arguments = _constructor_arguments(settings, origin)
    version = "tau_s" if "tau_s" in state else "tau_b"
    arguments["update"] = "published" if version == "tau_s" else "bounded"
    stored = sum(value.numel() for value in state.values())
    with built_within(stored, arguments, f"{origin}: model_config.json"):
        neuron = ELM(**arguments)
    if neuron.readout is None:
        raise CheckpointError(
            f"{origin}: model_config.json asks for no output; expected at least one. Copy it again."
        )
    shape = neuron.synapses.raw.shape
    tau = _take(state, version, origin).view(-1)
    if tau.numel() == shape.numel():
        tau = tau.view(shape)
        if not torch.equal(tau, tau[:, :1].expand_as(tau)):
            raise CheckpointError(
                f"{origin}: tau_s differs between synapses of one branch; Ulmus keeps one time constant for a branch. "
                "Expected equal values within each branch, as in every released checkpoint."
            )
        tau = tau[:, 0]
    readout = neuron.readout
    targets: dict[str, Tensor] = {
        "_proto_w_s": neuron.synapses.raw,
        "_proto_tau_m": neuron.tau_memory.raw,
        "w_y.weight": readout.weight,
        "w_y.bias": readout.bias,
    }
    if arguments["routing"] != "dense":
        targets["input_to_synapse_indices"] = neuron.synapses.indices
        targets["valid_indices_mask"] = neuron.synapses.connected
    for index, layer in enumerate(cast(list[nn.Linear], list(neuron.mlp))):
        targets[f"mlp.network.{2 * index}.weight"] = layer.weight
        targets[f"mlp.network.{2 * index}.bias"] = layer.bias
    with torch.no_grad():
        if tau.shape != neuron.tau_synapse_ms.shape:
            raise CheckpointError(
                f"{origin}: {version} has {tau.numel()} time constants; model_config.json asks for {shape[0]} branches. Use the "
                "weights and the configuration of the same run."
            )
        neuron.tau_synapse_ms.copy_(tau)
        for key, target in targets.items():
            value = _take(state, key, origin)
            if value.numel() != target.numel():
                raise CheckpointError(
                    f"{origin}: {key} has shape {list(value.shape)}; model_config.json asks for {list(target.shape)}. "
                    "Use the weights and the configuration of the same run."
                )
            target.copy_(value.view(target.shape))
    try:  # so that the synapses take note of the routing they were given
        neuron.load_state_dict(neuron.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{origin} does not fit model_config.json ({reason}); copy the folder again."
        ) from error
    return neuron


def _constructor_arguments(settings: dict[str, Any], origin: str) -> dict[str, Any]:
    known = [*_ARGUMENTS, "memory_tau_min", "memory_tau_max", "input_to_synapse_routing"]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise CheckpointError(
            f"{origin}: model_config.json has the unknown argument {unknown[0]!r}; expected only arguments of the "
            f"authors' ELM.{closest(unknown[0], known)}"
        )
    missing = [key for key in ("num_input", "num_output") if key not in settings]
    if missing:
        raise CheckpointError(
            f"{origin}: model_config.json lacks {missing[0]!r}; it needs the sizes of the neuron."
        )
    arguments: dict[str, Any] = {"memory": 100}
    arguments |= {_ARGUMENTS[key]: value for key, value in settings.items() if key in _ARGUMENTS}
    routing = settings.get("input_to_synapse_routing")
    arguments["routing"] = _ROUTINGS.get(routing, routing)
    arguments["tau_memory_ms"] = (settings.get("memory_tau_min", 1.0), settings.get("memory_tau_max", 1000.0))
    return arguments


def _read_settings(file: Path) -> dict[str, Any]:
    return read_json(
        file,
        CheckpointError,
        "an authors' checkpoint folder holds it beside a .pt file; copy the folder again",
    )


def _weights_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.pt"))
    if len(files) != 1:
        raise CheckpointError(
            f"{folder} holds {len(files)} files named *.pt; expected exactly one, the weights of the neuron."
        )
    return files[0]


def _read_weights(file: Path) -> dict[str, Tensor]:
    state = read_torch(file, "copy the folder again")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{file} does not hold a state dict of tensors; save model.state_dict() of their model."
        )
    return state


def _take(state: dict[str, Tensor], key: str, origin: str) -> Tensor:
    if key not in state:
        raise CheckpointError(
            f"{origin}: tensor {key!r} is missing, found {sorted(state)[:5]}; expected a state dict of the authors' ELM "
            "(v1 or v2). Save it with torch.save(model.state_dict(), ...)."
        )
    return state[key]
