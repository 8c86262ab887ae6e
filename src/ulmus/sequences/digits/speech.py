"""Spoken digits for those who have no recordings: espeak-ng says them. Synthetic speech, far less varied than people."""

import math
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from ulmus.errors import ConfigError, MissingToolError, UlmusError, extra
from ulmus.files.lock import only_one
from ulmus.files.writing import write_file
from ulmus.sequences.digits.cochlea.wav import Sound, read_wav
from ulmus.sequences.digits.spoken_digits import DIGITS
from ulmus.sequences.making import Report, begin, check_counts, check_seed, give_up

ORIGIN = "synthetic speech of espeak-ng"
SPEAKERS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")
"""Variants of the engine's one voice: formants and pitch differ."""
VOICES = (
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "AnxiousAndy", "Denis", "Diogo", "Gene", "Gene2",
    "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "RicishayMax",
    "RicishayMax2", "RicishayMax3", "Storm", "Tweaky", "adam", "anika", "anikaRobot", "announcer",
    "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "f1",
    "f2", "f3", "f4", "f5", "fast", "grandma", "grandpa", "gustave", "iven", "iven2", "iven3", "iven4",
    "john", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6", "linda", "m1", "m2",
    "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul",
    "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2", "steph3", "travis", "victor",
)  # fmt: skip
"""Variants that come with the engine, but for robots, demons, and those that whisper or croak. Some sound alike: `caleb`,
`klatt` and `klatt6` are one voice, and `fast` is the plain one."""


@dataclass(frozen=True)
class Manner:
    """How digits are spoken.

    Attributes:
        speakers: variants of the engine's voice.
        accents: of every language, taken in turns.
        pitch: from, and up to but not including; 0 to 99.
        words_per_minute: from, and up to but not including.
        rate_hz: sampling rate of the recordings; the engine's by default.
        noise_db: white noise beside the loudest sample, least and most; none by default.
    """

    speakers: tuple[str, ...]
    accents: dict[str, tuple[str, ...]]
    pitch: tuple[int, int]
    words_per_minute: tuple[int, int]
    rate_hz: int | None = None
    noise_db: tuple[float, float] | None = None


FEW = Manner(SPEAKERS, {"en": ("en-us",), "de": ("de",)}, (25, 75), (120, 200))
ENGLISH = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-029", "en-gb-x-gbclan")
MANY = Manner(VOICES, {"en": ENGLISH}, (15, 86), (100, 200), 8_000, (-70.0, -34.0))
"""As unlike each other as the engine's voices can be, at the rate of recordings over a telephone: to learn from beside people."""

_MOST_TRIALS = 10_000
_RECORD = "speaking.json"
_SILENT = 0.01  # of the loudest sample


def speak_digits(
    folder: str | Path,
    *,
    trials: int = 10,
    manner: Manner = FEW,
    languages: Sequence[str] | None = None,
    speakers: Sequence[str] | None = None,
    seed: int = 0,
    on_clip: Report | None = None,
) -> Path:
    """Have every digit spoken into WAV files, with pitch and speed drawn anew for each; silence around it is cut off.

    Files that are there are kept, so an interrupted call goes on when it is repeated.

    Args:
        folder: of the files ``lang-en_speaker-m1_trial-0_digit-7.wav``, made if absent.
        trials: how often each speaker says each digit in each language.
        manner: `FEW` voices or `MANY`.
        languages: of those of the manner; all by default.
        speakers: of those of the manner; all by default.
        seed: of pitch, speed and noise.
        on_clip: called with (clips done, clips in total).

    Raises:
        MissingToolError: espeak-ng is not installed.
        ConfigError: arguments that cannot be used, or other ones than the folder was begun with.
        UlmusError: espeak-ng failed, or lacks a voice.
    """
    check_seed(seed)
    check_counts(trials=trials)
    languages = tuple(manner.accents) if languages is None else languages
    speakers = manner.speakers if speakers is None else speakers
    unknown = [*(set(languages) - set(manner.accents)), *(set(speakers) - set(manner.speakers))]
    if unknown or trials > _MOST_TRIALS or not languages or not speakers:
        raise ConfigError(
            f"trials={trials}, languages={list(languages)}, speakers={list(speakers)}: expected at least one of each, "
            f"at most {_MOST_TRIALS:,} trials, languages of {sorted(manner.accents)} and speakers of {list(manner.speakers)}; "
            "correct them"
        )
    program = _engine({accent for name in languages for accent in manner.accents[name]}, set(speakers))
    folder = Path(folder).expanduser()
    asked = {"trials": trials, "languages": list(languages), "speakers": list(speakers), "seed": seed}
    wanted = list(product(languages, speakers, range(trials), range(10)))
    with only_one(folder, "filled with spoken digits"):
        begin(folder, asdict(manner) | asked, _RECORD, "*.wav")
        for done, (language, speaker, trial, digit) in enumerate(wanted, 1):
            file = folder / f"lang-{language}_speaker-{speaker}_trial-{trial}_digit-{digit}.wav"
            if not file.exists():
                number, accents = manner.speakers.index(speaker), manner.accents[language]
                random = np.random.default_rng([seed, number, trial, digit, *language.encode()])
                voice = f"{accents[(number + trial) % len(accents)]}+{speaker}"
                try:
                    sound = _say(program, DIGITS[language][digit], voice, manner, random)
                except UlmusError:
                    give_up(folder, _RECORD)
                    raise
                write_file(file, partial(_write, sound=sound), replace=False)
            if on_clip is not None:
                on_clip(done, len(wanted))
    return folder


def _engine(accents: set[str], variants: set[str]) -> str:
    """The program; one that lacks a voice is refused: it would speak with its plain one, and not say so."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingToolError(
            "espeak-ng is not installed; expected it to speak the digits; install it (Debian: apt install espeak-ng), or "
            "give recordings with --from"
        )
    has = [_listed(program, kind) for kind in ("--voices", "--voices=variant")]
    lacks = [*sorted(accents - has[0]), *sorted(variants - has[1])]
    if lacks:
        raise UlmusError(
            f"espeak-ng has no voice {', '.join(lacks)}; expected all that are asked for; install its data whole (Debian: "
            "espeak-ng-data), or a later release"
        )
    return program


def _listed(program: str, kind: str) -> set[str]:
    """Languages, or files of variants, in a table of the engine's voices."""
    result = subprocess.run([program, kind], capture_output=True, text=True, check=False)
    if result.returncode:
        raise UlmusError(
            f"`espeak-ng {kind}` failed ({result.stderr.strip()}); expected its voices; try it by hand, install it anew"
        )
    words = [line.split() for line in result.stdout.splitlines()[1:]]
    return {row[1] for row in words if len(row) > 1} | {
        word.removeprefix("!v/") for row in words for word in row if "!v/" in word
    }


def _say(program: str, word: str, voice: str, manner: Manner, random: np.random.Generator) -> Sound:
    pitch, speed = random.integers(*manner.pitch), random.integers(*manner.words_per_minute)
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
    if manner.rate_hz is not None:
        sound = _at_rate(sound, manner.rate_hz)
    if not sound.samples.any():
        raise UlmusError(
            f"espeak-ng is silent on {word!r} with voice {voice}; expected to hear the word; try it by hand"
        )
    loud = np.nonzero(np.abs(sound.samples) > _SILENT * np.abs(sound.samples).max())[0]
    samples = sound.samples[loud[0] : loud[-1] + 1]
    if manner.noise_db is not None:
        loudness = np.abs(samples).max() * 10 ** (random.uniform(*manner.noise_db) / 20)
        samples = np.clip(samples + loudness * random.standard_normal(len(samples)), -1, 1)
    return Sound(samples, sound.rate_hz)


def _at_rate(sound: Sound, rate_hz: int) -> Sound:
    with extra("sequences", "changing the rate of sounds"):
        from scipy.signal import resample_poly

    shared = math.gcd(sound.rate_hz, rate_hz)
    return Sound(resample_poly(sound.samples, rate_hz // shared, sound.rate_hz // shared), rate_hz)


def _write(path: Path, sound: Sound) -> None:
    with path.open("wb") as stream, wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        file.writeframes(np.round(sound.samples * 32767).astype("<i2").tobytes())
