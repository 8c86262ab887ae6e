"""``ulmus explore``."""

from pathlib import Path

from ulmus.cli.console import console
from ulmus.errors import ConfigError
from ulmus.export import write_explorer
from ulmus.neuron import load_surrogate, shipped_neurons
from ulmus.trials import open_trials

L5PC_CPU_SECONDS, L5PC_SOURCE = 1.88, "Arbor, 0.025 ms steps, one core of an AMD EPYC"
"""What a second of the layer-5 pyramidal cell takes (docs/performance.md), to which the shipped neurons were fitted."""


def explore(
    neuron: str = "l5pc-branch-20",
    *,
    out: Path = Path("explorer.html"),
    data: list[str] | None = None,
    morphology: Path | None = None,
    detailed_seconds: float | None = None,
) -> None:
    """Write a page to play with a fitted neuron: place synapses, change its input, watch its voltage, spikes and memory.

    The page opens offline; the neuron is computed in the browser.

    Args:
        neuron: Run folder, saved surrogate, or name of a shipped neuron.
        out: File to write.
        data: Trials of the detailed neuron, one of which can be replayed beside its recorded voltage.
        morphology: Reconstruction (.asc, .swc) of the layer-5 pyramidal cell to draw, for neurons that do not say where their
            inputs lie.
        detailed_seconds: CPU seconds that the detailed neuron takes for a second, to compare with; known for the shipped
            neurons.
    """
    if detailed_seconds is not None and not detailed_seconds > 0:
        raise ConfigError(
            f"--detailed-seconds {detailed_seconds}: expected CPU seconds above zero. Correct it."
        )
    surrogate = load_surrogate(neuron)
    if morphology is not None:
        from ulmus.report.model_page import geometry_of

        surrogate.geometry = geometry_of(morphology, surrogate)
    shipped = neuron in shipped_neurons() and not Path(neuron).exists() and detailed_seconds is None
    page = write_explorer(
        surrogate,
        out,
        title=Path(neuron).stem if shipped or Path(neuron).is_file() else Path(neuron).resolve().name,
        trials=None if data is None else open_trials(data),
        detailed_cpu_seconds=L5PC_CPU_SECONDS if shipped else detailed_seconds,
        detailed_source=L5PC_SOURCE if shipped else "",
    )
    console.print(f"open {page.resolve()}", soft_wrap=True)
