"""Spoken digits for those who have no recordings: espeak-ng says them. Synthetic speech, far less varied than people."""

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from ulmus.errors import ConfigError, MissingToolError, UlmusError
from ulmus.files.writing import write_file
from ulmus.sequences.digits.cochlea.wav import Sound, read_wav
from ulmus.sequences.digits.spoken_digits import DIGITS
from ulmus.sequences.making import Report

ORIGIN = "synthetic speech of espeak-ng"
SPEAKERS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")
"""Variants of the engine's one voice: formants and pitch differ."""

_PITCH, _WORDS_PER_MINUTE = (25, 75), (120, 200)
_MOST_TRIALS = 10_000
_SILENT = 0.01  # of the loudest sample
_VOICES = {"en": "en-us", "de": "de"}


def speak_digits(
    folder: str | Path,
    *,
    trials: int = 10,
    languages: Sequence[str] = ("en", "de"),
    speakers: Sequence[str] = SPEAKERS,
    seed: int = 0,
    on_clip: Report | None = None,
) -> Path:
    """Have every digit spoken into WAV files, with pitch and speed drawn anew for each; silence around it is cut off.

    Files that are there are kept, so an interrupted call goes on when it is repeated.

    Args:
        folder: of the files ``lang-en_speaker-m1_trial-0_digit-7.wav``, made if absent.
        trials: how often each speaker says each digit in each language.
        languages: of ``en``, ``de``.
        speakers: of `SPEAKERS`.
        seed: of pitch and speed.
        on_clip: called with (clips done, clips in total).

    Raises:
        MissingToolError: espeak-ng is not installed.
        ConfigError: arguments that cannot be used.
        UlmusError: espeak-ng failed.
    """
    unknown = [*(set(languages) - set(_VOICES)), *(set(speakers) - set(SPEAKERS))]
    if unknown or not 1 <= trials <= _MOST_TRIALS or not languages or not speakers:
        raise ConfigError(
            f"trials={trials}, languages={list(languages)}, speakers={list(speakers)}: expected at least one of each, "
            f"at most {_MOST_TRIALS:,} trials, languages of {sorted(_VOICES)} and speakers of {list(SPEAKERS)}; correct them"
        )
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingToolError(
            "espeak-ng is not installed; expected it to speak the digits; install it (Debian: apt install espeak-ng), or "
            "give recordings with --from"
        )
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(product(languages, speakers, range(trials), range(10)))
    for done, (language, speaker, trial, digit) in enumerate(wanted, 1):
        file = folder / f"lang-{language}_speaker-{speaker}_trial-{trial}_digit-{digit}.wav"
        if not file.exists():
            key = [seed, SPEAKERS.index(speaker), trial, digit, *language.encode()]
            random = np.random.default_rng(key)
            voice = f"{_VOICES[language]}+{speaker}"
            sound = _say(program, DIGITS[language][digit], voice, random)
            write_file(file, partial(_write, sound=sound), replace=False)
        if on_clip is not None:
            on_clip(done, len(wanted))
    return folder


def _say(program: str, word: str, voice: str, random: np.random.Generator) -> Sound:
    pitch, speed = random.integers(*_PITCH), random.integers(*_WORDS_PER_MINUTE)
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "word.wav"
        command = [program, "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(spoken), word]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode or not spoken.exists():
            raise UlmusError(
                f"espeak-ng failed on {word!r} with voice {voice} ({result.stderr.strip()}); expected a WAV file; "
                "try it by hand"
            )
        sound = read_wav(spoken)
    loud = np.nonzero(np.abs(sound.samples) > _SILENT * np.abs(sound.samples).max())[0]
    return Sound(sound.samples[loud[0] : loud[-1] + 1], sound.rate_hz)


def _write(path: Path, sound: Sound) -> None:
    with path.open("wb") as stream, wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        file.writeframes(np.round(sound.samples * 32767).astype("<i2").tobytes())
