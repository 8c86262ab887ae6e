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
    assert content.subtitle.startswith("A model of kind LSTM with 200 trainable parameters")
    page = write_report(content, tmp_path / "report.html").read_text()
    assert "What it learned" not in page
    assert '"traces"' in page
    assert '"timescales"' not in page


def test_a_neuron_gets_a_page_with_its_time_constants(integrator_store):
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3, tau_memory_ms=(2.0, 32.0)))
    content = gather(surrogate, open_trials((str(integrator_store),)), None, "Random weights.")
    assert content.subtitle.startswith("An Expressive Leaky Memory neuron")
    torch.testing.assert_close(
        torch.as_tensor(content.learned.tau_memory_ms), torch.tensor([2.0, 8.0, 32.0]), rtol=1e-4, atol=1e-3
    )
