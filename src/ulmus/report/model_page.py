"""The page of a fitted model, from its run folder and trials."""

from pathlib import Path

from ulmus.errors import ConfigError
from ulmus.files.reading import explained
from ulmus.geometry import Geometry
from ulmus.neuron import Classifier, Predictor, Surrogate, load, load_surrogate
from ulmus.report.classifier_content import classifier_content
from ulmus.report.content import ClassifierContent, SurrogateContent
from ulmus.report.page import write_report
from ulmus.report.surrogate_content import surrogate_content, training_cost
from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.run import Run, place_from
from ulmus.training.scoring import Data, with_threshold
from ulmus.trials import TrialSource, open_trials


def report(
    model: Surrogate | str | Path,
    data: Data | None = None,
    out: str | Path | None = None,
    *,
    threshold_on: Data | None = None,
    morphology: str | Path | None = None,
) -> Path:
    """Write a page that opens offline: scores, learning curve, what was learnt; of a fitted neuron also where it fails.

    Args:
        model: A `Surrogate`, or the place or name of anything that `ulmus.load` reads: a run folder, a saved surrogate, a
            shipped neuron, an authors' checkpoint folder.
        data: Trials to show a fitted neuron on; by default those of the run's last evaluation, else its validation trials.
            A classifier is shown by the scores that `ulmus evaluate` has left in its run folder.
        out: File to write; by default ``report.html`` in the run folder.
        threshold_on: Trials on which the threshold for spike times is chosen, so that as many spikes are predicted as were
            recorded; by default the surrogate's own.
        morphology: Reconstruction (``.asc``, ``.swc``) of the layer-5 pyramidal cell to draw what was learnt on, for data
            that do not say where their inputs lie, such as NeuronIO.

    Returns:
        The file.

    Raises:
        CheckpointError: the model cannot be loaded, or its run folder is damaged.
        ConfigError: there is no run folder to take trials or a place for the page from, or the morphology does not fit.
        DataError: the trials are missing or damaged, or do not fit the neuron.

    Example:
        >>> surrogate = ulmus.Surrogate(ulmus.ELM(100, 2, memory=5))
        >>> ulmus.report(surrogate, "lif", "page.html").name
        'page.html'
    """
    place = None if isinstance(model, Surrogate) else Path(model)
    loaded = model if isinstance(model, Surrogate) else load(model)
    run = Run(place) if place is not None and Run(place).exists() else None
    name = "the surrogate" if place is None else str(place)
    if out is None and run is None:
        raise ConfigError(
            f"{name} is not a run folder, so there is no default place for the report; choose one with --out FILE.html."
        )
    if isinstance(loaded, Classifier | Predictor):
        if data or threshold_on or morphology or run is None:
            raise ConfigError(
                f"{name} is a model of sequences, whose report is made from its run folder alone; give the run folder, without "
                "--data, --threshold-on and --morphology."
            )
        content: SurrogateContent | ClassifierContent = classifier_content(loaded, run)
    else:
        surrogate = with_threshold(load_surrogate(loaded, name), threshold_on)
        geometry = None if morphology is None else geometry_of(morphology, surrogate)
        trials, shown = _trials(data, run, name)
        costs = () if run is None else (training_cost(run),)
        content = surrogate_content(
            surrogate,
            trials,
            run,
            f"{len(trials)} {shown}.",
            costs,
            geometry,
            place.stem if place else "fitted neuron",
        )
    return write_report(content, Path(out) if out else Run(str(place)).report_file)


def _trials(data: Data | None, run: Run | None, name: str) -> tuple[TrialSource, str]:
    """What to show a neuron on, and what these trials are."""
    if isinstance(data, TrialSource):
        return data, "trials given for this report"
    if data:
        specs, what = [data] if isinstance(data, (str, Path)) else list(data), "trials given for this report"
    elif run is None:
        raise ConfigError(
            f"{name} is not a run folder, so there are no trials to show; give some with --data."
        )
    else:
        specs, what = _evaluated(run)
    return open_trials(specs), f"{what}: {', '.join(map(str, specs))}"


def geometry_of(morphology: str | Path, surrogate: Surrogate) -> Geometry:
    """Where the inputs of the layer-5 pyramidal cell with this morphology lie."""
    from ulmus.teachers import L5PC, load_morphology

    geometry = L5PC(load_morphology(morphology)).geometry
    if len(geometry.input_piece) != surrogate.neuron.inputs:
        raise ConfigError(
            f"the morphology {morphology} gives {len(geometry.input_piece)} inputs, the surrogate has "
            f"{surrogate.neuron.inputs}; expected as many. Give the reconstruction of the cell it was fitted to."
        )
    return geometry


def _evaluated(run: Run) -> tuple[list[str | Path], str]:
    """Data of the last evaluation under protocol stream, else the validation data; and what they are."""
    file = run.evaluation_file("stream")
    if file.is_file():
        with explained(
            str(file), "scores as ulmus evaluate wrote them", "evaluate the run again, or give --data"
        ):
            known = run.evaluation("stream")
            places = [place_from(str(place), known.get("named_from")) for place in known["data"]]
            return list(places), "trials of the last evaluation"
    recipe = run.recipe()
    if not isinstance(recipe, SurrogateRecipe):
        raise ConfigError(f"{run.folder} was not fitted to trials; expected a run of a fitted neuron.")
    return list(recipe.data.validation), "validation trials"
