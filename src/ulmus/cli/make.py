"""``ulmus data make``: spoken-digits, listops, pathfinder."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from ulmus.cli.console import console, progress
from ulmus.errors import ConfigError

app = App(name="make", help="Make data in the published layout.")


@app.command
def spoken_digits(
    *,
    out: Path,
    source: Annotated[Path | None, Parameter(name="--from")] = None,
    test_speakers: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    test_share: float = 0.2,
    same_speakers: bool = False,
    trials: int = 10,
    many_voices: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Turn recordings of spoken digits into spikes of a cochlea, in the layout of the Spiking Heidelberg Digits.

    Without --from, espeak-ng speaks the digits: synthetic speech, and labelled so. The same command continues an interrupted run.

    Args:
        out: Folder of spoken_digits_train.h5 and spoken_digits_test.h5.
        source: Folder or ZIP archive of WAV files with names like 7_jackson_32.wav.
        test_speakers: Speakers for the test file only; chosen by the seed by default.
        test_share: Share of the clips in the test file, unless speakers are named.
        same_speakers: Hold out some clips of every speaker instead of all clips of some speakers.
        trials: Without --from: how often each synthetic speaker says each digit.
        many_voices: Without --from: 86 variants of an English voice with noise at 8 kHz, to learn from beside people
            (data.more), instead of 12 English and German ones.
        seed: Seed for the choice of speakers, the spikes, and the synthetic speech.
        workers: Processes; all cores by default.
    """
    from ulmus.sequences.digits.speech import FEW, MANY, ORIGIN, speak_digits
    from ulmus.sequences.digits.spoken_digits import check_arguments, check_speakers, make_spoken_digits

    check_arguments(test_share, seed, workers)
    if many_voices and source is not None:
        raise ConfigError(f"--many-voices, --from {source}: expected one of the two; leave one out")
    origin = "recordings"
    if source is None:
        origin, source, manner = ORIGIN, out / "recordings", MANY if many_voices else FEW
        if test_speakers is not None:
            check_speakers(test_speakers, manner.speakers)
        with progress("speak") as show:
            speak_digits(source, trials=trials, manner=manner, seed=seed, on_clip=show)
    with progress("listen") as show:
        files = make_spoken_digits(
            source,
            out,
            test_speakers=test_speakers,
            test_share=test_share,
            same_speakers=same_speakers,
            seed=seed,
            workers=workers,
            origin=origin,
            on_clip=show,
        )
    for split, file in files.items():
        console.print(f"{split}: {file}", soft_wrap=True)


@app.command
def listops(
    out: Path,
    *,
    train: int = 96_000,
    valid: int = 2_000,
    test: int = 2_000,
    seed: int = 0,
    shortest: int = 501,
    longest: int = 1999,
    depth: int = 10,
    arguments: int = 10,
    operators: Annotated[
        list[Literal["MIN", "MAX", "MED", "SM"]] | None, Parameter(consume_multiple=True)
    ] = None,
    repeats: bool = False,
    workers: int | None = None,
) -> None:
    """Write listops-1000/basic_{train,val,test}.tsv; the defaults are the published settings.

    Args:
        out: Folder that stands for lra_release.
        train: Training expressions.
        valid: Validation expressions.
        test: Test expressions.
        seed: Decides the content of the files, which are the same for any number of workers.
        shortest: Fewest tokens of an expression.
        longest: Most tokens.
        depth: Levels of nested operators and digits.
        arguments: Most arguments of an operator.
        operators: Operators to use; all four by default.
        repeats: Draw expressions independently, so that the few shortest keep their share; for lessons only.
        workers: Processes; all cores by default.
    """
    from ulmus.sequences.lra.listops.expressions import OPERATORS
    from ulmus.sequences.lra.listops.writer import make_listops

    with progress("expressions") as show:
        folder = make_listops(
            out,
            counts=(train, valid, test),
            seed=seed,
            shortest=shortest,
            longest=longest,
            depth=depth,
            most_arguments=arguments,
            operators=operators or OPERATORS,
            repeats=repeats,
            workers=workers,
            on_expressions=show,
        )
    console.print(f"{folder}: {train} + {valid} + {test} expressions", soft_wrap=True)


@app.command
def pathfinder(
    out: Path,
    *,
    size: Literal[32, 64, 128, 256] = 32,
    contour: Literal[6, 9, 14] = 14,
    images: int = 200_000,
    seed: int = 0,
    workers: int | None = None,
    as_published: bool = False,
) -> None:
    """Write pathfinder32/curv_contour_length_14 and the like; the same command continues an interrupted run.

    Args:
        out: Folder that stands for lra_release.
        size: Width and height of the images; 128 is Pathfinder-X.
        contour: Paddles in a contour: 14 hard (the benchmark), 9 intermediate, 6 easy.
        images: Number of images.
        seed: Decides the images, which are the same for any number of workers; lessons need one of their own.
        workers: Processes; all cores by default.
        as_published: Draw as the original program does: fewer distractors at 32 and 64, and disc places that give some of
            the labels away.
    """
    from ulmus.sequences.lra.pathfinder.settings import published_settings
    from ulmus.sequences.lra.pathfinder.writer import make_pathfinder

    with progress("images") as show:
        folder = make_pathfinder(
            out,
            published_settings(size, contour, as_published),
            images=images,
            seed=seed,
            workers=workers,
            on_images=show,
        )
    console.print(f"{folder}: {images} images of {size} x {size}", soft_wrap=True)
