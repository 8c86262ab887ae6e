"""A cable cell of Arbor as a teacher, and a ball and stick with NMDA spikes made that way."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import ConfigError, MissingToolError, closest, extra
from ulmus.geometry import Geometry
from ulmus.teachers.arbor_engine import SIMULATOR, CableModel, run_cable
from ulmus.teachers.catalogue import compiled_mechanisms, load_mechanisms
from ulmus.teachers.custom.cell import REVERSAL_NAMES, CustomCell, Synapse, place_name, sha256_of
from ulmus.teachers.teacher import Answer, Drive
from ulmus.trials.header import Signal

with extra("simulate", "simulating a detailed neuron"):
    import arbor
    from arbor import units as U


@dataclass(frozen=True, eq=False)
class ArborCell(CustomCell):
    """A cable cell of Arbor with synapses.

    ``build`` returns what ``arbor.cable_cell`` is made of: ``(morphology or segment tree, decor, labels, cv_policy)``.
    The synapses are placed here, so the decor should hold none. Mechanisms are those of Arbor's default catalogue,
    ``bbp::...`` (also as BluePyOpt names them, ``default::...`` and ``BBP::...``), ``ulmus::ampa_nmda`` and
    ``ulmus::two_exponentials`` (compiled when first used), and ``own::...`` from ``catalogue``.

    Attributes:
        catalogue: file that ``arbor-build-catalogue`` made, if any.
    """

    soma: str = "(root)"
    catalogue: str | Path | None = None

    @property
    def simulator(self) -> str:
        """Arbor."""
        return SIMULATOR

    @property
    def _compiled(self) -> bool:
        return any(synapse.mechanism.startswith("ulmus::") for synapse in self.synapses)

    @property
    def built_sha256(self) -> str:
        """Over morphology, labels, discretization, what the decor sets and paints, and the contents of ``catalogue``."""
        return _built_sha256(self)

    @property
    def geometry(self) -> Geometry:
        """The control volumes, as long as they are straight."""
        return _geometry(self)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Concentrations, in mM."""
        if self.record:
            _describe(self, ())
        return tuple(Signal(name, "mM") for name in self.recorded)

    def site_names(self, sites: Sequence[int | str]) -> tuple[str, ...]:
        """The location expressions themselves."""
        names = tuple(str(site) if isinstance(site, int) else place_name(site) for site in sites)
        if names:
            _describe(self, names)
        return names

    def reversal_mv(self) -> list[float | None]:
        """Reversal potential of every synapse: its own, that in the name of its mechanism, or the mechanism's default."""
        catalogue = _mechanisms(self)
        return [_reversal_mv(synapse, catalogue) for synapse in self.synapses]

    def prepare(self) -> None:
        """Compile what has to be compiled, and build the cell once."""
        if self._compiled:
            compiled_mechanisms()
        _describe(self, ())

    def answer(self, drive: Drive, dt_ms: float, sites: tuple[str, ...]) -> Answer:
        """Simulate with Arbor."""
        model, above_mv, refractory_ms = _describe(self, sites), self.spike_above_mv, self.refractory_ms
        return run_cable(model, drive, dt_ms, above_mv=above_mv, refractory_ms=refractory_ms)


@lru_cache(maxsize=4)
def _describe(cell: ArborCell, sites: tuple[str, ...]) -> CableModel:
    shape, decor, labels, policy = _made(cell)
    properties = arbor.neuron_cable_properties()
    properties.catalogue = _mechanisms(cell)
    for index, synapse in enumerate(cell.synapses):
        _check_synapse(f"synapse {index} of cell {cell.name!r}", synapse, properties.catalogue)
    try:
        for index, synapse in enumerate(cell.synapses):
            mechanism = arbor.mechanism(synapse.mechanism, dict(synapse.parameters))
            decor.place(synapse.at, arbor.synapse(mechanism), str(index))
        probes = {tag: arbor.cable_probe_membrane_voltage(tag, tag) for tag in (cell.soma, *sites)}
        signals = {f"record {name}": _probe(cell, name, *what) for name, what in cell.recorded.items()}
        cable = arbor.cable_cell(shape, decor, labels, policy)
        recorded = (place for place, _ in cell.recorded.values())
        for place in (cell.soma, *sites, *recorded, *{synapse.at for synapse in cell.synapses}):
            if len(cable.locations(place)) != 1:
                raise ConfigError(
                    f"cell {cell.name!r}: {place} is {len(cable.locations(place))} places; expected one. Correct it."
                )
        weight = np.array([synapse.weights[0] for synapse in cell.synapses], dtype=np.float64)
        parts = (shape, decor, labels, policy)
        delay_ms = np.array([synapse.delay_ms for synapse in cell.synapses])
        model = CableModel(parts, cell.soma, probes, properties, weight, delay_ms, signals)
        run_cable(model, Drive(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 1, None), dt_ms=0.25)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"Arbor refuses the cell {cell.name!r} recorded at {', '.join((cell.soma, *sites))}: {str(error).strip()}. Expected "
            f"places and mechanisms that it has. Correct the cell, its synapses or the sites."
        ) from error
    return model


def _probe(cell: ArborCell, name: str, place: str, variable: str) -> "arbor.probe":
    """A concentration, by NEURON's name for it: that of the ion, then i for inside or o for outside."""
    ion, side = variable[:-1], variable[-1]
    if side not in "io" or not ion:
        raise ConfigError(
            f"cell {cell.name!r}, record {name!r}: variable {variable!r}; expected a concentration such as cai (inside) or cao "
            f"(outside), which Arbor can be asked for. Correct it."
        )
    made = arbor.cable_probe_ion_int_concentration if side == "i" else arbor.cable_probe_ion_ext_concentration
    return made(place, ion, f"record {name}")


def _made(cell: ArborCell) -> tuple[Any, Any, Any, Any]:
    """What build returns, if it is the four parts of a cable cell."""
    made = cell.made()
    if not isinstance(made, tuple) or len(made) != 4:
        what = f"{len(made)} of them" if isinstance(made, tuple) else f"a {type(made).__name__}"
        raise ConfigError(
            f"cell {cell.name!r}: build returns {what}; expected what arbor.cable_cell is made of, (morphology or segment tree, "
            f"decor, labels, cv_policy), as the synapses are placed afterwards. Return these four."
        )
    return made


def _check_synapse(where: str, synapse: Synapse, catalogue: "arbor.catalogue") -> None:
    """Whether there is such a mechanism with such parameters."""
    base, known = synapse.mechanism.partition("/")[0], list(catalogue.keys())
    if base not in known:
        points = [name for name in known if "point" in str(catalogue[name].kind)]
        raise ConfigError(
            f"{where}: Arbor refuses the mechanism {base!r}; expected one of {', '.join(points)}.{closest(base, points)} Correct "
            f"the name."
        )
    parameters = list(catalogue[base].parameters)
    wrong = [name for name in synapse.parameters if name not in parameters]
    if wrong:
        raise ConfigError(
            f"{where}: Arbor refuses the parameter {wrong[0]!r} of {base}; expected some of {', '.join(parameters)}."
            f"{closest(wrong[0], parameters)} Correct the name; global parameters are part of the mechanism's, "
            f"'{base}/name=value'."
        )
    if len(synapse.weights) > 1:
        raise ConfigError(
            f"{where}: {len(synapse.weights)} weights; expected one, as an event of Arbor has. Use a mechanism that scales its "
            f"receptors by parameters."
        )


def _reversal_mv(synapse: Synapse, catalogue: "arbor.catalogue") -> float | None:
    base, _, given = synapse.mechanism.partition("/")
    defaults = {**catalogue[base].parameters, **catalogue[base].globals}
    known = {name: value.default for name, value in defaults.items()}
    known |= {name: float(value) for name, value in (pair.split("=") for pair in given.split(",") if given)}
    known |= synapse.parameters
    return next((known[name] for name in REVERSAL_NAMES if name in known), None)


@lru_cache(maxsize=4)
def _built_sha256(cell: ArborCell) -> str:
    _describe(cell, ())  # says what is wrong with the cell, if anything
    contents = b"" if cell.catalogue is None else Path(cell.catalogue).read_bytes()
    return sha256_of([*_described(*_made(cell)), hashlib.sha256(contents).hexdigest()])


def _described(shape: Any, decor: Any, labels: Any, policy: Any) -> Iterator[object]:
    """What the cell is made of, in Arbor's own words."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cell.acc"
        arbor.write_component(arbor.cable_cell(shape, decor, labels, policy), str(file))
        yield file.read_text(encoding="utf-8")
    # Arbor writes six decimals there, too few for a small conductance or permeability.
    yield from decor.defaults()
    for region, painted in decor.paintings():
        yield from (region, painted)
        if isinstance(painted, arbor.density):
            yield from (item for pair in sorted(painted.mech.values) for item in pair)


@lru_cache(maxsize=4)
def _geometry(cell: ArborCell) -> Geometry:
    model = _describe(cell, ())
    shape = _made(cell)[0]
    place = arbor.place_pwlin(arbor.morphology(shape) if isinstance(shape, arbor.segment_tree) else shape)
    cable = model.cell
    volumes = arbor.cv_data(cable)
    cables = [
        cable for index in range(volumes.num_cv) for cable in volumes.cables(index) if cable.prox < cable.dist
    ]
    ends = np.array(
        [[_point(place, cable.branch, at) for at in (cable.prox, cable.dist)] for cable in cables]
    )

    def piece(expression: str) -> int:
        (at,) = cable.locations(expression)
        return next(
            index
            for index, cable in enumerate(cables)
            if cable.branch == at.branch and cable.prox <= at.pos <= cable.dist
        )

    (soma,) = cable.locations(cell.soma)
    *centre, radius = _point(place, soma.branch, soma.pos)
    return Geometry(
        proximal_um=ends[:, 0, :3],
        distal_um=ends[:, 1, :3],
        diameter_um=ends[:, :, 3].sum(axis=1),
        input_piece=np.array([piece(synapse.at) for synapse in cell.synapses]),
        soma_centre_um=np.array(centre),
        soma_diameter_um=2 * radius,
    )


def _point(place: "arbor.place_pwlin", branch: int, position: float) -> tuple[float, float, float, float]:
    point = place.at(arbor.location(branch, position))
    return point.x, point.y, point.z, point.radius


def _mechanisms(cell: ArborCell) -> "arbor.catalogue":
    catalogue = load_mechanisms(cell._compiled)
    # As BluePyOpt writes them.
    catalogue.extend(arbor.default_catalogue(), "default::")
    catalogue.extend(arbor.bbp_catalogue(), "BBP::")
    if cell.catalogue is not None:
        try:
            catalogue.extend(arbor.load_catalogue(str(cell.catalogue)), "own::")
        except Exception as error:
            raise MissingToolError(
                f"{cell.catalogue} cannot be loaded ({str(error).strip()}); expected a catalogue compiled for Arbor "
                f"{arbor.__version__}. Build it again with arbor-build-catalogue of this version."
            ) from error
    return catalogue


STICK_LENGTH_UM, STICK_DIAMETER_UM, SOMA_DIAMETER_UM = 600.0, 1.2, 20.0
# Global parameters, shared by all synapses of a kind, are part of a mechanism's name in Arbor.
_AMPA_NMDA = "ulmus::ampa_nmda/g_ampa=0.0004,rise_ampa=0.3,decay_ampa=3,g_nmda=0.0008,rise_nmda=2,decay_nmda=70,e=0,mg=1"
_GABA_A = "ulmus::two_exponentials/g=0.001,rise=0.2,decay=8,e=-80"


def ball_and_stick(segments: int = 40) -> ArborCell:
    """A soma that fires (Hodgkin and Huxley) and a passive dendrite whose clustered synapses make NMDA spikes.

    Each of the equal segments of the dendrite has an excitatory synapse (AMPA 0.4 nS, NMDA 0.8 nS) and an inhibitory one
    (GABA_A 1 nS). Inputs ``0 .. segments-1`` excite, from the soma to the tip; the others inhibit, in the same order.

    Raises:
        ConfigError: Less than one segment.
    """
    if segments < 1:
        raise ConfigError(f"segments={segments}: expected at least 1, such as 40. Correct it.")
    # Branch 0 holds the soma too.
    whole = STICK_LENGTH_UM + SOMA_DIAMETER_UM
    centres = [
        f"(location 0 {(SOMA_DIAMETER_UM + (k + 0.5) / segments * STICK_LENGTH_UM) / whole:.9f})"
        for k in range(segments)
    ]
    excitation = [Synapse(at, _AMPA_NMDA) for at in centres]
    inhibition = [Synapse(at, _GABA_A, sign=-1) for at in centres]
    soma = f"(location 0 {SOMA_DIAMETER_UM / 2 / whole:.9f})"
    return ArborCell(
        partial(_build_ball_and_stick, segments), [*excitation, *inhibition], "ball-and-stick", soma
    )


def _build_ball_and_stick(segments: int) -> tuple[Any, ...]:
    tree, r, radius = arbor.segment_tree(), SOMA_DIAMETER_UM / 2, STICK_DIAMETER_UM / 2
    soma = tree.append(arbor.mnpos, arbor.mpoint(-2 * r, 0, 0, r), arbor.mpoint(0, 0, 0, r), tag=1)
    tree.append(soma, arbor.mpoint(0, 0, 0, radius), arbor.mpoint(STICK_LENGTH_UM, 0, 0, radius), tag=3)
    decor = arbor.decor()
    decor.set_property(Vm=-65 * U.mV, rL=150 * U.Ohm * U.cm, cm=1 * U.uF / U.cm2)
    decor.paint("(tag 1)", arbor.density("hh"))
    decor.paint("(tag 3)", arbor.density("pas/e=-65", g=5e-5))
    policy = arbor.cv_policy_max_extent(STICK_LENGTH_UM / max(segments, 60) * U.um)
    return tree, decor, arbor.label_dict(), policy
