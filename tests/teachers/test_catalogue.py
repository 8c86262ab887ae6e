import math
import stat
import sys

import arbor
import numpy as np
import pytest
from arbor import units as U

from ulmus.errors import MissingToolError
from ulmus.teachers.catalogue import cache_folder, compiled_mechanisms, load_mechanisms
from ulmus.teachers.l5pc.parameters import AMPA, GABA_A, NMDA


class _Ball(arbor.recipe):
    """One compartment of 1000 um2 and 10 pF with a mechanism."""

    def __init__(self, density=None, synapse=None, events=(), start_mv=-70.0):
        arbor.recipe.__init__(self)
        radius = math.sqrt(1000 / (4 * math.pi))
        tree = arbor.segment_tree()
        tree.append(
            arbor.mnpos, arbor.mpoint(-radius, 0, 0, radius), arbor.mpoint(radius, 0, 0, radius), tag=1
        )
        decor = arbor.decor().set_property(Vm=start_mv * U.mV, cm=1 * U.uF / U.cm2)
        if density:
            decor.paint("(all)", density)
        if synapse:
            decor.place("(location 0 0.5)", synapse, "synapse")
        self.cell = arbor.cable_cell(tree, decor, None, arbor.cv_policy_single())
        self.events = list(events)

    def num_cells(self):
        return 1

    def cell_kind(self, gid):
        return arbor.cell_kind.cable

    def cell_description(self, gid):
        return self.cell

    def global_properties(self, kind):
        properties = arbor.neuron_cable_properties()
        properties.catalogue = load_mechanisms()
        return properties

    def probes(self, gid):
        return [arbor.cable_probe_membrane_voltage("(location 0 0.5)", "v")]

    def event_generators(self, gid):
        times = arbor.explicit_schedule([time * U.ms for time in self.events])
        return [arbor.event_generator(arbor.cell_local_label("synapse"), 1.0, times)] if self.events else []

    def voltage(self, duration_ms, dt_ms=0.005):
        simulation = arbor.simulation(self)
        handle = simulation.sample((0, "v"), arbor.regular_schedule(0 * U.ms, dt_ms * U.ms))
        simulation.run(duration_ms * U.ms, dt_ms * U.ms)
        return np.asarray(simulation.samples(handle)[0][0])[:, 1]


def _conductance_ns(receptor, since_ms):
    """A difference of exponentials with its peak at peak_ns, from zero at the spike."""
    rise, decay = receptor.rise_ms, receptor.decay_ms
    shape = np.exp(-since_ms / decay) - np.exp(-since_ms / rise)
    fine = np.linspace(0, 100, 1_000_001)
    return np.where(
        since_ms >= 0, receptor.peak_ns * shape / (np.exp(-fine / decay) - np.exp(-fine / rise)).max(), 0
    )


def _integrate(conductances, start_mv, duration_ms, dt_ms=0.0005):
    """Membrane equation of 10 pF with synaptic currents only; conductances: (nS over time, gate, reversal)."""
    voltage = [start_mv]
    for step in range(round(duration_ms / dt_ms)):
        v = voltage[-1]
        current = sum(
            g[step] * (1 / (1 + math.exp(-0.08 * v) / 3.57) if gate else 1) * (v - e)
            for g, gate, e in conductances
        )
        voltage.append(v - dt_ms * current / 10)
    return np.array(voltage)


@pytest.mark.parametrize("kind", ["ampa_nmda", "gaba_a"])
def test_synapses_follow_the_published_equations(kind):
    events, duration = (2.0, 9.0, 11.0), 25.0
    time = np.arange(round(duration / 0.0005)) * 0.0005
    summed = {
        r: sum(_conductance_ns(r, np.maximum(time - at, -1)) * (time >= at) for at in events)
        for r in (AMPA, NMDA, GABA_A)
    }
    if kind == "ampa_nmda":
        synapse, start = arbor.synapse("ulmus::ampa_nmda"), -70.0
        expected = _integrate([(summed[AMPA], False, 0.0), (summed[NMDA], True, 0.0)], start, duration)
    else:
        synapse, start = arbor.synapse("ulmus::two_exponentials"), -60.0
        expected = _integrate([(summed[GABA_A], False, -80.0)], start, duration)
    ours = _Ball(synapse=synapse, events=[at + 0.001 for at in events], start_mv=start).voltage(duration)
    assert abs(expected[-1] - start) > 5
    assert np.abs(ours - expected[: 10 * len(ours) : 10]).max() < 0.05


def test_ih_without_a_shift_is_arbors_own_and_a_shift_moves_it():
    own = _Ball(arbor.density("ulmus::ih_shifted", {"gbar": 2e-3, "shift": 0})).voltage(50)
    bbp = _Ball(arbor.density("bbp::Ih", {"gIhbar": 2e-3})).voltage(50)
    assert np.abs(own - bbp).max() < 1e-9
    # The shifted channel sees V - shift: closed more at -70 mV when moved to the left.
    shifted = _Ball(arbor.density("ulmus::ih_shifted", {"gbar": 2e-3, "shift": -10})).voltage(50)
    assert own[-1] - own[0] > shifted[-1] - shifted[0] > 0


def test_compiling_happens_once_and_leaves_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("ULMUS_CACHE", str(tmp_path))
    first = compiled_mechanisms()
    stamp = first.stat().st_mtime_ns
    assert compiled_mechanisms().stat().st_mtime_ns == stamp
    assert {item.suffix for item in first.parent.iterdir()} == {".so", ".lock"}
    monkeypatch.setenv("PATH", "")  # nothing is needed any more
    assert compiled_mechanisms() == first


def test_without_a_compiler_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("ULMUS_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as error:
        compiled_mechanisms()
    for word in (
        "no C++ compiler",
        "apt install g++ cmake make",
        "dnf install gcc-c++",
        "xcode-select --install",
    ):
        assert word in str(error.value)


def test_a_compiler_that_fails_is_shown_with_its_output(tmp_path, monkeypatch):
    for name in ("c++", "cmake", "make"):
        program = tmp_path / name
        program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('this {name} is broken')\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("ULMUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MissingToolError, match="this cmake is broken"):
        compiled_mechanisms()
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("ULMUS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ulmus"
