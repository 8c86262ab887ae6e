"""From any surrogate and trials to a page."""

import torch

import ulmus
import ulmus.baselines
from ulmus.data.sources import open_trials
from ulmus.report import write_report
from ulmus.report.gather import gather


def test_a_model_without_synapses_gets_a_page_with_what_there_is(integrator_store, tmp_path):
    torch.manual_seed(0)
    surrogate = ulmus.Surrogate(ulmus.baselines.LSTM(12, 2, memory=3))
    content = gather(surrogate, open_trials((str(integrator_store),)), None, "Random weights.")
    assert content.learned is None
    assert content.memory_encoding is None
    assert content.failures.recorded_count.sum() > 0
    assert content.subtitle.startswith("A model of kind LSTM with 200 trainable parameters")
    page = write_report(content, tmp_path / "report.html").read_text()
    assert "What it learned" not in page
    assert '"traces"' in page
    assert '"timescales"' not in page


def test_a_neuron_gets_a_page_with_its_time_constants(integrator_store):
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3, tau_memory_ms=(2.0, 32.0)))
    content = gather(surrogate, open_trials((str(integrator_store),)), None, "Random weights.")
    assert content.subtitle.startswith("An Expressive Leaky Memory neuron")
    assert content.memory_encoding.signals[:3] == ("excitation", "inhibition", "voltage")
    torch.testing.assert_close(
        torch.as_tensor(content.learned.tau_memory_ms), torch.tensor([2.0, 8.0, 32.0]), rtol=1e-4, atol=1e-3
    )


def test_moments_are_cut_from_their_trials(integrator_store):
    torch.manual_seed(0)
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3))
    trials = open_trials((str(integrator_store),))
    content = gather(surrogate, trials, None, "Random weights.")
    assert len(content.moments) >= 2
    for moment, place in zip(content.moments, content.failures.moments, strict=True):
        trial = trials.trial(place.trial)
        assert moment.label.endswith(f"trial {place.trial}")
        start, stop = int(place.start_ms), int(place.stop_ms)
        assert stop - start == 300
        assert (moment.voltage_mv == trial.voltage_mv[start:stop, 0]).all()
        assert len(moment.event_time_ms) == len(trials.window(place.trial, start, stop).event_input)
        inside = (trial.spike_time_ms >= start) & (trial.spike_time_ms < stop)
        assert moment.spike_times_ms.tolist() == trial.spike_time_ms[inside].tolist()
