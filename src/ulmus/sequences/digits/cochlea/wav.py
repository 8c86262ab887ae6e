"""Reading WAV files, the one format that every recorder writes."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ulmus.errors import DataError, extra


class Sound(NamedTuple):
    """One channel of sound.

    Attributes:
        samples: pressure; whole numbers are scaled to -1 to 1.
        rate_hz: samples per second.
    """

    samples: Float64[np.ndarray, "samples"]
    rate_hz: int


def read_wav(source: str | Path | bytes, name: str | None = None) -> Sound:
    """Read a WAV file of any width (8, 16, 24, 32 bit, floating point); several channels are averaged.

    Args:
        source: path or content of the file.
        name: of the file, for messages.

    Raises:
        DataError: the file is missing, damaged, or not a WAV file.
    """
    with extra("sequences", "reading sounds"):
        from scipy.io import wavfile

    name = name or (str(source) if not isinstance(source, bytes) else "the sound")
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{name} does not exist; expected a WAV file; check the path") from None
    except OSError as error:
        raise _bad(name, f"cannot be read ({error})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            # Too short a file is read without complaint as well, but as what is there: not what was recorded.
            warnings.filterwarnings("error", message="Reached EOF", category=wavfile.WavFileWarning)
            rate_hz, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # the reader fails in many ways on damaged bytes
        raise _bad(name, f"is not a whole WAV file ({error})") from error
    if samples.size == 0:
        raise _bad(name, "holds no samples")
    if samples.dtype == np.uint8:
        scaled = (samples.astype(np.float64) - 128) / 128
    elif samples.dtype.kind == "i":
        # 24-bit samples arrive in the upper bytes of 32.
        scaled = samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    else:
        scaled = samples.astype(np.float64)
    return Sound(scaled if scaled.ndim == 1 else scaled.mean(axis=1), int(rate_hz))


def _bad(name: str, what: str) -> DataError:
    return DataError(f"{name} {what}; expected a WAV file of one word; convert it, for example with sox")
