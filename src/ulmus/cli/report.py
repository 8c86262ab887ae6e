"""``ulmus report``."""

from pathlib import Path

from ulmus.cli.console import console
from ulmus.report.model_page import report as write


def report(
    model: Path,
    *,
    data: list[str] | None = None,
    out: Path | None = None,
    threshold_on: list[str] | None = None,
    morphology: Path | None = None,
) -> None:
    """Write a page that opens offline: scores, learning curve, weights and time constants, and where a fitted neuron fails.

    Args:
        model: Run folder, saved surrogate, name of a shipped neuron, or checkpoint folder of the paper's authors.
        data: Trials to show a fitted neuron on; by default those of the run's last evaluation, else its validation trials.
            A classifier's report shows the scores that ulmus evaluate has left in the run folder.
        out: File to write; by default report.html in the run folder.
        threshold_on: Trials on which the threshold for spike times is chosen (as many spikes as were recorded); by
            default the one that training chose on its validation trials. Checkpoints of the paper's authors have none.
        morphology: Reconstruction (.asc, .swc) of the layer-5 pyramidal cell on which to draw the weights, for data that do
            not say where their inputs lie, such as NeuronIO.
    """
    page = write(model, data, out, threshold_on=threshold_on, morphology=morphology)
    console.print(str(page), soft_wrap=True)
