"""The simple teachers against closed forms."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from ulmus.errors import ConfigError
from ulmus.teachers.integrate_and_fire import IntegrateAndFire, adaptive
from ulmus.teachers.runner import simulate

NONE = np.zeros(0, dtype=np.int64)


@pytest.mark.parametrize("dt_ms", [0.25, 0.05])
def test_a_postsynaptic_potential_has_its_closed_form_at_any_step(dt_ms):
    neuron = IntegrateAndFire(weight_mv=6.0)
    trial = neuron.run_trial(np.array([10, 40]), np.array([3, 85]), 120, dt_ms=dt_ms)
    time = np.arange(120.0)

    def potential(since):
        later = np.maximum(since, 0.0)
        return 6.0 * 5 / (5 - 20) * (np.exp(-later / 5) - np.exp(-later / 20))

    expected = -70 + potential(time - 10) - potential(time - 40)
    assert trial.voltage_mv[:, 0] == pytest.approx(expected, abs=1e-5)
    assert not trial.spike_time_ms.size


def test_constant_drive_gives_the_closed_form_of_the_interval():
    neuron = IntegrateAndFire(bias_mv=25.0, refractory_ms=3)
    trial = neuron.run_trial(NONE, NONE, 600, dt_ms=0.01)
    interval = 3 + 20 * np.log(25 / (25 - 15))
    assert len(trial.spike_time_ms) == int((600 - (interval - 3)) / interval) + 1
    assert np.diff(trial.spike_time_ms) == pytest.approx(interval, abs=0.011)
    assert trial.spike_time_ms[0] == pytest.approx(interval - 3, abs=0.011)


def test_adaptation_lengthens_intervals_to_their_closed_form():
    neuron = adaptive(bias_mv=40.0, refractory_ms=0)
    trial = neuron.run_trial(NONE, NONE, 3000, dt_ms=0.01)
    intervals = np.diff(trial.spike_time_ms)
    assert intervals[0] < intervals[1] < intervals[2] < intervals[-1]

    def excess(interval):  # voltage above the threshold at the end of an interval of the steady rhythm
        raised = 4.0 / (np.exp(interval / 100) - 1)
        return 40 * (1 - np.exp(-interval / 20)) - (15 + raised)

    assert intervals[-10:] == pytest.approx(brentq(excess, 1, 200), abs=0.011)


def test_spikes_under_random_input_are_those_of_an_ordinary_solver():
    neuron = adaptive(weight_mv=14.0, refractory_ms=2)
    drawn = neuron.regime.draw(neuron, 400, 3, 1)
    ours = neuron.run_trial(drawn.event_step, drawn.event_input, 400, dt_ms=0.01)
    assert len(ours.spike_time_ms) > 3
    arriving = 14.0 * np.bincount(
        drawn.event_step, weights=neuron.input_sign[drawn.event_input], minlength=400
    )
    v, s, raised, until, spikes = -70.0, 0.0, 0.0, 0.0, []
    for step in range(400):
        s, now = s + arriving[step], float(step)
        while now < step + 1:
            stop = min(step + 1.0, until) if until > now else step + 1.0

            def slope(_, y, held=until > now):
                return [0.0 if held else (-70 - y[0] + y[1]) / 20, -y[1] / 5, -y[2] / 100]

            def crossing(_, y):
                return y[0] - (-55 + y[2])

            crossing.terminal, crossing.direction = True, 1
            found = solve_ivp(slope, (now, stop), [v, s, raised], events=crossing, rtol=1e-9, atol=1e-9)
            now, (v, s, raised) = float(found.t[-1]), found.y[:, -1]
            if found.t_events[0].size:
                spikes.append(now)
                v, raised, until = -70.0, raised + 4.0, now + 2
    assert ours.spike_time_ms == pytest.approx(np.array(spikes), abs=0.1)


@pytest.mark.parametrize(("make", "name"), [(IntegrateAndFire, "lif"), (adaptive, "adaptive-lif")])
def test_stores_are_the_same_for_any_number_of_workers(make, name, tmp_path):
    options = {"trials": 4, "seconds": 2.0, "seed": 2, "dt_ms": 0.1}
    one = simulate(make(), out=tmp_path / "one", workers=1, **options)
    two = simulate(make(), out=tmp_path / "two", workers=2, **options)
    assert one.content_hash == two.content_hash
    assert one.header.settings["cell"]["cell"] == name
    assert one.header.settings["input_groups"] == []
    assert 1 < one.info()["output_hz"] < 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau_membrane_ms": 0.0}, "tau_membrane_ms=0.0"),
        ({"tau_synapse_ms": 20.0}, "equals tau_membrane_ms"),
        ({"weight_mv": float("nan")}, "weight_mv=nan"),
        ({"excitatory": 0}, "excitatory=0"),
        ({"threshold_mv": -71.0}, "threshold_mv=-71"),
    ],
)
def test_neurons_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        IntegrateAndFire(**options)


def test_a_point_has_no_sites():
    with pytest.raises(ConfigError, match="sites holds 3.*point"):
        IntegrateAndFire().run_trial(NONE, NONE, 10, sites=(3,))


@pytest.mark.parametrize(("excitatory", "inhibitory"), [(80, 20), (639, 639), (1000, 250)])
@pytest.mark.parametrize("make", [IntegrateAndFire, adaptive])
def test_the_default_weight_gives_a_few_hz_for_any_number_of_inputs(make, excitatory, inhibitory):
    neuron = make(excitatory=excitatory, inhibitory=inhibitory)
    spikes = 0
    for trial in range(5):
        drawn = neuron.regime.draw(neuron, 6000, 1, trial)
        spikes += len(neuron.run_trial(drawn.event_step, drawn.event_input, 6000, dt_ms=0.25).spike_time_ms)
    assert 1 < spikes / 30 < 10
    assert neuron.settings()["weight_mv"] == pytest.approx(480 / excitatory)
