"""Neurons on disk: one safetensors file whose header holds, as JSON, everything but the weights."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

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
_TORCH: dict[str, Any] = {f"torch.nn.{kind.__name__}": kind for kind in (nn.LSTM, nn.GRU)}
_FOREIGN = "foreign"
"""Kind of a module that is not ours, of which a file holds the weights alone."""
_OF_RNN = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
SHIPPED = files("ulmus.neuron") / "shipped"
_HEADER = "ulmus"
_SUFFIX = ".safetensors"
RUN_CHECKPOINT = Path("checkpoints") / "best.safetensors"
"""Where a run folder keeps the neuron that `load` returns."""


def save(neuron: nn.Module, path: str | Path) -> Path:
    """Write a neuron, surrogate or classifier to one file; an existing file is replaced only once the new one is whole.

    Raises:
        CheckpointError: the path cannot be written, or is a folder; or the model is of a kind that cannot be loaded again.

    Example:
        >>> ulmus.save(ulmus.ELM(3, 2, memory=5), "neuron.safetensors").name
        'neuron.safetensors'
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder; give a file name, for example {path / 'neuron.safetensors'}."
        )
    header = {"format": FORMAT, **_describe(neuron)}
    try:
        metadata = {_HEADER: json.dumps(header)}
        tensors = {key: value.contiguous() for key, value in neuron.state_dict().items()}
        # Not by safetensors itself, whose error on a full disk is not the system's.
        content = serialize(tensors, metadata=metadata)
        write_file(path, lambda made: made.write_bytes(content))
        remove_leftovers(path.parent, path.name)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the neuron holds a value that JSON cannot ({error}); use plain numbers and texts."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); {remedy(error)}.") from error
    return path


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
        model: For a `Predictor` of a module of your own, which files do not describe: one of the same shape, which gets the
            weights.

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
    floating = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    neuron.to(floating[0] if floating else None)
    try:
        neuron.load_state_dict(tensors)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:160]
        raise CheckpointError(
            f"{path}: the weights do not fit the neuron described in the header ({reason}). "
            "The file was changed by hand or is damaged; save it again."
        ) from error
    return neuron.eval()


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
    wrong = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
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
        known = type(model.model).__name__ in KINDS or isinstance(model.model, nn.RNNBase)
        inner = _describe(model.model) if known else {"kind": _FOREIGN, "name": type(model.model).__name__}
        return described | {"model": inner} | values
    if isinstance(model, nn.RNNBase):
        return {
            "kind": f"torch.nn.{described['kind']}",
            "config": {key: getattr(model, key) for key in _OF_RNN},
        }
    if described["kind"] not in KINDS:
        raise CheckpointError(
            f"a model of kind {described['kind']} could not be loaded again; expected one of {list(KINDS)}. Save its "
            "state_dict() yourself."
        )
    return described | {"config": model.config}


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
