"""Neurons on disk: one safetensors file whose header holds, as JSON, everything but the weights."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from ulmus.baselines import LSTM, TCN, LSTMNetwork, PointNeuron, SpikingNetwork, Transformer
from ulmus.errors import CheckpointError, ConfigError, closest, remedy
from ulmus.files.reading import check_place
from ulmus.files.writing import remove_leftovers, write_file
from ulmus.geometry import Geometry
from ulmus.neuron.cell import ELMCell
from ulmus.neuron.classifier import Classifier
from ulmus.neuron.elm import ELM
from ulmus.neuron.layer import ELMLayer
from ulmus.neuron.network import ELMNetwork
from ulmus.neuron.official import import_official, is_official
from ulmus.neuron.predictor import Predictor
from ulmus.neuron.surrogate import SignalUnits, Surrogate, VoltageUnits
from ulmus.neuron.within import built_within

FORMAT = 1
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        ELM,
        ELMCell,
        ELMLayer,
        ELMNetwork,
        LSTM,
        LSTMNetwork,
        PointNeuron,
        SpikingNetwork,
        TCN,
        Transformer,
    )
}
"""Models by the name that a file gives them."""
_TORCH: dict[str, Any] = {f"torch.nn.{kind.__name__}": kind for kind in (nn.RNN, nn.LSTM, nn.GRU)}
_FOREIGN = "foreign"
"""Kind of a module that Ulmus cannot build, of which a file holds the weights alone."""
_OF_RNN = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_OF_ONE_RNN = {nn.RNN: ("nonlinearity",), nn.LSTM: ("proj_size",)}
SHIPPED = files("ulmus.neuron") / "shipped"
_HEADER = "ulmus"
_SUFFIX = ".safetensors"
RUN_CHECKPOINT = Path("checkpoints") / "best.safetensors"
"""Where a run folder keeps the neuron that `load` returns."""


def save(neuron: nn.Module, path: str | Path) -> Path:
    """Write a neuron, surrogate or classifier to one file; an existing file is replaced only once the new one is whole.

    Raises:
        CheckpointError: the path cannot be written, or is a folder; or the model is of a kind, or was changed in a way, that
            cannot be loaded again.

    Example:
        >>> ulmus.save(ulmus.ELM(3, 2, memory=5), "neuron.safetensors").name
        'neuron.safetensors'
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder; give a file name, for example {path / 'neuron.safetensors'}."
        )
    # Not by safetensors itself, whose error on a full disk is not the system's.
    content = file_content(neuron)
    try:
        write_file(path, lambda made: made.write_bytes(content))
        remove_leftovers(path.parent, path.name)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); {remedy(error)}.") from error
    return path


def file_content(neuron: nn.Module) -> bytes:
    """What `save` writes.

    Raises:
        CheckpointError: the model cannot be loaded again from a file.
    """
    try:
        metadata = {_HEADER: json.dumps({"format": FORMAT, **_describe(neuron)})}
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the neuron holds a value that JSON cannot ({error}); use plain numbers and texts."
        ) from error
    return serialize(_tensors(neuron), metadata=metadata)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights by name; tied ones are there under each of their names, as files share no memory."""
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        kept = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
        if not kept or value.is_meta or value.dtype == torch.complex128:
            what = f"a tensor of {value.dtype} on {value.device}" if kept else f"a {type(value).__name__}"
            raise CheckpointError(
                f"{name} of the {type(model).__name__} is {what}; expected a plain tensor with values, of "
                "complex ones complex64. Convert it, fill it (to_empty, reset_parameters), or keep it out of state_dict()."
            )
        tensors[name] = value.clone(memory_format=torch.contiguous_format)
    return tensors


def shipped_neurons() -> list[str]:
    """Names of the fitted neurons that come with Ulmus; ``load(name).card`` says what each was fitted to and how well."""
    names = (entry.name for entry in SHIPPED.iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and values of the tensors of a model, such as its ``state_dict()``."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load(path: str | Path, model: nn.Module | None = None) -> Any:
    """A neuron from a saved file, from a run folder (its best checkpoint), from an authors' checkpoint folder, or shipped.

    Args:
        path: Where it is, or the name of one of `shipped_neurons`: ``"l5pc-branch-20"``.
        model: For a `Predictor` of a module of your own or of a changed one, which files do not describe: one of the same
            shape, which gets the weights.

    Returns:
        The `Surrogate`, `Classifier` or neuron that was saved, ready to run: call ``train()`` before training it further.

    Raises:
        CheckpointError: nothing is there, or it is damaged, or from a later version of Ulmus.

    Example:
        >>> surrogate = ulmus.load("l5pc-branch-20")
        >>> surrogate.neuron.inputs, surrogate.sites
        (1278, ('soma',))
    """
    check_place(path, CheckpointError)
    path = Path(path)
    if not path.exists() and str(path) in shipped_neurons():
        with as_file(SHIPPED / f"{path}{_SUFFIX}") as file:
            return load(file, model)
    if path.is_dir():
        if is_official(path):
            return import_official(path)
        if not (path / RUN_CHECKPOINT).is_file():
            raise CheckpointError(
                f"{path} holds neither {RUN_CHECKPOINT} (a run folder) nor model_config.json (an authors' checkpoint). "
                "Give a run folder after its first validation, or a file written by ulmus.save."
            )
        path = path / RUN_CHECKPOINT
    header, tensors = _read(path)
    stored = sum(tensor.numel() for tensor in tensors.values())
    with built_within(stored, header.get("model", header), str(path)):
        neuron = _build(header, path, model)
    _take_dtypes(neuron, tensors)
    try:
        neuron.load_state_dict(tensors)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:160]
        raise CheckpointError(
            f"{path}: the weights do not fit the neuron described in the header ({reason}). "
            "The file was changed by hand or is damaged, or is of another model than the given one; save it again."
        ) from error
    return neuron.eval()


def _take_dtypes(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for name, value in model.state_dict(keep_vars=True).items():
        stored = tensors.get(name)
        if stored is not None and stored.is_floating_point() and value.is_floating_point():
            value.data = value.data.to(stored.dtype)


def load_surrogate(model: nn.Module | str | Path, origin: str | Path | None = None) -> Surrogate:
    """A fitted neuron from any place that `load` reads; one that is loaded already is returned as it is.

    Args:
        model: The surrogate, or where it is.
        origin: What to call it in a message, where that is not ``model``.

    Raises:
        CheckpointError: nothing can be loaded from there.
        ConfigError: a layer or a classifier is there, not a fitted neuron.
    """
    loaded = model if isinstance(model, nn.Module) else load(model)
    if not isinstance(loaded, Surrogate):
        place = origin or (model if isinstance(model, (str, Path)) else "the model")
        raise ConfigError(
            f"{place} is a bare {type(loaded).__name__}; expected a fitted neuron (ulmus.Surrogate). Wrap it in one."
        )
    return loaded


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        known = shipped_neurons()
        raise CheckpointError(
            f"{path} does not exist; expected a file written by ulmus.save, a run folder, or one of the shipped neurons "
            f"{known}.{closest(str(path), known)}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}); copy or save it again."
        ) from error
    except KeyError as error:
        raise CheckpointError(
            f"{path} is a safetensors file without the {_HEADER!r} header; expected a file written by ulmus.save."
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {header.get('format') if isinstance(header, dict) else header!r}; "
            f"this Ulmus reads {FORMAT}. Upgrade Ulmus."
        )
    inner = header.get("model")
    foreign = isinstance(inner, dict) and inner.get("kind") == _FOREIGN  # which may have masks of -inf
    checked = [key for key in tensors if not (foreign and key.startswith("model."))]
    wrong = [key for key in checked if not tensors[key].isfinite().all()]
    if wrong:
        raise CheckpointError(
            f"{path}: {wrong[0]} holds values that are not finite; restore it from a copy, or train again."
        )
    return header, tensors


def _describe(model: Any) -> dict[str, Any]:
    """What the header says of a model, so that `_build` makes one of the same shape."""
    described: dict[str, Any] = {"kind": type(model).__name__}
    if isinstance(model, Surrogate):
        drawn: dict[str, Any] = {} if model.geometry is None else {"geometry": model.geometry.to_json()}
        drawn |= {} if model.spikes else {"spikes": False}  # earlier versions read what has both answers
        return (
            described
            | drawn
            | {
                "model": _describe(model.neuron),
                "sites": model.sites,
                "units": asdict(model.units),
                **_answers(model),
                "spike_threshold": model.spike_threshold,
                "card": model.card,
            }
        )
    if isinstance(model, Classifier):
        return described | {
            "model": _describe(model.model),
            "classes": model.classes,
            "reading": model.reading,
            "towers": model.towers,
            **({"hints": model.hints} if model.hints else {}),  # earlier versions read what has none
            "card": model.card,
        }
    if isinstance(model, Predictor):
        values = {
            key: getattr(model, key)
            for key in (
                "task",
                "answers",
                "channels",
                "input",
                "masked",
                "reading",
                "horizon",
                "dt_ms",
                "card",
            )
        }
        own = {"kind": _FOREIGN, "name": type(model.model).__name__}
        inner = _describe_neuron(model.model) if is_described(model.model) else own
        return described | {"model": inner} | values
    if changed := _changed(model):
        raise CheckpointError(changed)
    return _describe_neuron(model)


def is_described(model: nn.Module) -> bool:
    """Whether a file describes this model so that exactly it can be built again; if not, it is a module of one's own."""
    return _changed(model) is None


def _changed(model: nn.Module) -> str | None:
    """Why this is not the model that would be built from what a file says of it, if so."""
    kind = type(model).__name__
    if type(model) not in (*KINDS.values(), *_TORCH.values()):
        return (
            f"a model of kind {kind} could not be loaded again; expected one of {list(KINDS)}. Save its "
            "state_dict() yourself."
        )
    with torch.random.fork_rng(devices=[]):
        made = _parts(_build(_describe_neuron(model), Path(kind)))
    found = _parts(model)
    # Parts of one's own without tensors, which the neuron does not call, may lie in it.
    idle = {name for name, part in found.items() if name not in made and isinstance(part, type)}
    other = [name for name in {**made, **found} if name not in idle and made.get(name) != found.get(name)]
    return (
        f"{other[0]} of this {kind} is not what its settings make, so that it could not be loaded again; expected the layers it "
        "was made with. Make changes permanent (remove_parametrizations, prune.remove), save its state_dict() yourself, or "
        "save a ulmus.neuron.Predictor of it, for ulmus.load(path, model=...)."
        if other
        else None
    )


def _parts(model: nn.Module) -> dict[str, Any]:
    """Types of all modules, and shapes of all tensors with whether they are parameters; of tied ones only the first is."""
    parameters = dict(model.named_parameters())
    tensors = {
        name: (getattr(value, "shape", None), name in parameters)
        for name, value in model.state_dict().items()
    }
    return tensors | {name: type(part) for name, part in model.named_modules()}


def _describe_neuron(model: Any) -> dict[str, Any]:
    kind = type(model)
    if kind in _TORCH.values():
        keys = (*_OF_RNN, *_OF_ONE_RNN.get(kind, ()))
        return {"kind": f"torch.nn.{kind.__name__}", "config": {key: getattr(model, key) for key in keys}}
    return {"kind": kind.__name__, "config": model.config}


def _answers(model: Surrogate) -> dict[str, Any]:
    """What files of surrogates with one scale for all sites and no further signal do not have; earlier versions read those."""
    several = (
        {"site_units": [asdict(units) for units in model.site_units]}
        if len(set(model.site_units)) > 1
        else {}
    )
    signals = {"signals": [asdict(signal) for signal in model.signals]} if model.signals else {}
    return several | signals


def _build(header: dict[str, Any], path: Path, model: nn.Module | None = None) -> Any:
    try:
        kind, values = header["kind"], {key: header[key] for key in header if key not in ("kind", "format")}
        if kind in KINDS:
            return KINDS[kind](**values["config"])
        if kind in _TORCH:
            return _TORCH[kind](**values["config"])
        if kind == _FOREIGN:
            if model is None:
                raise CheckpointError(
                    f"{path} holds the weights of a {values['name']}, which Ulmus cannot build; expected one of the same shape: "
                    "ulmus.load(path, model=...)."
                )
            return model
        inner = _build(values.pop("model"), path, model)
        if kind == Predictor.__name__:
            return Predictor(inner, values.pop("task"), **values)
        if kind == Classifier.__name__:
            return Classifier(inner, values.pop("classes"), **values)
        each = values.pop("site_units", None) or values["units"]
        values["units"] = (
            [VoltageUnits(**one) for one in each] if isinstance(each, list) else VoltageUnits(**each)
        )
        values["signals"] = [SignalUnits(**signal) for signal in values.pop("signals", [])]
        if "geometry" in values:
            values["geometry"] = Geometry.from_json(values["geometry"])
        return Surrogate(inner, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the header does not describe a neuron ({error}); save it again."
        ) from error
