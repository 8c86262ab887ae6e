"""Reading WAV files, the one format that every recorder writes."""

import io
import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ulmus.errors import DataError

MOST_BYTES = 32 * 2**20
"""Of a file: 20 s, the longest clip, at 48 kHz with eight channels of 32 bits."""
_TO_THE_END = 0xFFFFFFFF  # what programs write as a size when they do not know it yet


class Sound(NamedTuple):
    """One channel of sound.

    Attributes:
        samples: pressure; whole numbers are scaled to -1 to 1.
        rate_hz: samples per second.
    """

    samples: Float64[np.ndarray, "samples"]
    rate_hz: int


def read_wav(source: str | Path | bytes, name: str | None = None) -> Sound:
    """Read a WAV file of any width (8, 16, 24, 32 bit, floating point), or its content; several channels are averaged."""
    from scipy.io import wavfile

    name = name or (str(source) if not isinstance(source, bytes) else "the sound")
    content = source if isinstance(source, bytes) else _content(Path(source), name)
    if len(content) > MOST_BYTES:
        raise too_large(name, len(content))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            rate_hz, samples = wavfile.read(io.BytesIO(_whole(content)))
    except Exception as error:  # the reader fails in many ways on damaged bytes
        raise _bad(name, f"is not a whole WAV file ({str(error)[:100]})") from error
    if samples.size == 0:
        raise _bad(name, "holds no samples")
    scaled = samples.astype(np.float64)
    if samples.dtype == np.uint8:
        scaled = (scaled - 128) / 128
    elif samples.dtype.kind == "i":  # 24-bit samples arrive in the upper bytes of 32
        scaled /= -float(np.iinfo(samples.dtype).min)
    return Sound(scaled if scaled.ndim == 1 else scaled.mean(axis=1), int(rate_hz))


def too_large(name: str, size: int) -> DataError:
    """What to say of a file that is too large for a word."""
    return DataError(
        f"{name} has {size:,} bytes; expected at most {MOST_BYTES:,}, which is a clip of 20 s; cut it into words"
    )


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"{name} does not exist; expected a WAV file; check the path") from None
    except OSError as error:
        raise _bad(name, f"cannot be read ({error.strerror})") from error


def _whole(content: bytes) -> bytes:
    """The format and the samples with their right sizes, if they are all there.

    The size in the header of the file is wrong in what many programs write, and tells nothing that is needed.

    Raises:
        ValueError: samples are missing.
    """
    if content[:4] != b"RIFF":
        return content
    form, place = b"", 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        place += 8
        if name == b"data":
            size = len(content) - place if size == _TO_THE_END else size
            if place + size > len(content):
                raise ValueError(f"{len(content) - place} of {size} bytes of sound are there")
            body = form + struct.pack("<4sI", b"data", size) + content[place : place + size]
            return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body
        if name == b"fmt ":
            form = content[place - 8 : place + size]
        place += size + size % 2
    raise ValueError("it holds no sound")


def _bad(name: str, what: str) -> DataError:
    return DataError(f"{name} {what}; expected a WAV file of one word; convert it, for example with sox")
