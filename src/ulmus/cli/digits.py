"""``ulmus data make spoken-digits``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ulmus.cli.console import console, progress
from ulmus.sequences.digits.speech import ORIGIN, speak_digits
from ulmus.sequences.digits.spoken_digits import make_spoken_digits


def make_digits(
    *,
    out: Path,
    source: Annotated[Path | None, Parameter(name="--from")] = None,
    test_speakers: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    test_share: float = 0.2,
    same_speakers: bool = False,
    trials: int = 10,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Turn recordings of spoken digits into spikes of a cochlea, in the layout of the Spiking Heidelberg Digits.

    Without --from, espeak-ng speaks the digits: synthetic speech, and labelled so. An interrupted run goes on.

    Args:
        out: Folder of spoken_digits_train.h5 and spoken_digits_test.h5.
        source: Folder or ZIP archive of WAV files with names like 7_jackson_32.wav.
        test_speakers: Speakers for the test file only; chosen by the seed by default.
        test_share: Share of the clips in the test file, unless speakers are named.
        same_speakers: Hold out some clips of every speaker instead of all clips of some speakers.
        trials: Without --from: how often each synthetic speaker says each digit.
        seed: Seed for the choice of speakers, the spikes, and the synthetic speech.
        workers: Processes; all cores by default.
    """
    origin = "recordings"
    if source is None:
        origin, source = ORIGIN, out / "recordings"
        with progress("speak") as show:
            speak_digits(source, trials=trials, seed=seed, on_clip=show)
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
