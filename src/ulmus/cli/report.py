"""``ulmus report``."""

from pathlib import Path

from ulmus.cli.console import console, say
from ulmus.cli.evaluate import as_surrogate
from ulmus.errors import CheckpointError, ConfigError
from ulmus.files.reading import read_json
from ulmus.geometry import Geometry
from ulmus.neuron import Classifier, Surrogate, load
from ulmus.report.classifier_content import classifier_content
from ulmus.report.content import ClassifierContent, SurrogateContent
from ulmus.report.page import write_report
from ulmus.report.surrogate_content import surrogate_content, training_cost
from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.run import Run
from ulmus.trials import open_trials


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
    loaded = load(model)
    run = Run(model) if Run(model).exists() else None
    if out is None and run is None:
        raise ConfigError(
            f"{model} is not a run folder, so there is no default place for the report; choose one with --out FILE.html."
        )
    if isinstance(loaded, Classifier):
        if data or threshold_on or morphology or run is None:
            raise ConfigError(
                f"{model} is a classifier, whose report is made from its run folder alone; give the run folder, without "
                "--data, --threshold-on and --morphology."
            )
        content: SurrogateContent | ClassifierContent = classifier_content(loaded, run)
    else:
        surrogate = as_surrogate(loaded, model, threshold_on)
        geometry = None if morphology is None else _geometry(morphology, surrogate)
        content = _fitted_neuron(surrogate, model, run, data, geometry)
    console.print(str(write_report(content, out or Run(model).report_file)), soft_wrap=True)


def _fitted_neuron(
    surrogate: Surrogate, model: Path, run: Run | None, data: list[str] | None, geometry: Geometry | None
) -> SurrogateContent:
    if data is None and run is None:
        raise ConfigError(
            f"{model} is not a run folder, so there are no trials to show; give some with --data."
        )
    specs, what = (data, "trials given for this report") if data else _evaluated(run or Run(model))
    trials = open_trials(specs)
    say(f"predicting {len(trials)} trials")
    evaluated_on = f"{len(trials)} {what}: {', '.join(specs)}."
    costs = () if run is None else (training_cost(run),)
    return surrogate_content(surrogate, trials, run, evaluated_on, costs, geometry, model.stem)


def _geometry(morphology: Path, surrogate: Surrogate) -> Geometry:
    """Where the inputs of the layer-5 pyramidal cell with this morphology lie."""
    from ulmus.teachers.l5pc.cell import L5PC
    from ulmus.teachers.morphology_files import load_morphology

    geometry = L5PC(load_morphology(morphology)).geometry
    if len(geometry.input_piece) != surrogate.neuron.inputs:
        raise ConfigError(
            f"--morphology {morphology} gives {len(geometry.input_piece)} inputs, the surrogate has "
            f"{surrogate.neuron.inputs}; expected as many. Give the reconstruction of the cell it was fitted to."
        )
    return geometry


def _evaluated(run: Run) -> tuple[list[str], str]:
    """Data of the last evaluation under protocol stream, else the validation data; and what they are."""
    file = run.evaluation_file("stream")
    if file.is_file():
        return read_json(file, CheckpointError)["data"], "trials of the last evaluation"
    recipe = run.recipe()
    if not isinstance(recipe, SurrogateRecipe):
        raise ConfigError(f"{run.folder} was not fitted to trials; expected a run of a fitted neuron.")
    return list(recipe.data.validation), "validation trials"
