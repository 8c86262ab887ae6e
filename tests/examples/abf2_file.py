"""A small file of ABF 2 with a protocol of steps, as Clampex lays it out: a header, and sections in blocks of 512 bytes."""

import struct
from pathlib import Path

import numpy as np

BLOCK = 512
SECTIONS = (
    "ProtocolSection", "ADCSection", "DACSection", "EpochSection", "ADCPerDACSection", "EpochPerDACSection",
    "UserListSection", "StatsRegionSection", "MathSection", "StringsSection", "DataSection", "TagSection",
    "ScopeSection", "DeltaSection", "VoiceTagSection", "SynchArraySection", "AnnotationSection", "StatsSection",
)  # fmt: skip
STRINGS = ("", "Clampex", "protocol", "IN 0", "mV", "Cmd 0", "pA")


def packed(size: int, *fields: tuple[int, str, object]) -> bytes:
    """Values at their places in an entry of this size."""
    entry = bytearray(size)
    for offset, kind, value in fields:
        struct.pack_into(f"<{kind}", entry, offset, value)
    return bytes(entry)


def write_abf2(
    path: Path,
    voltage_mv: np.ndarray,
    sampling_hz: float,
    steps: list[tuple[int, float, float]],
    holding_pa: float,
    *,
    epoch_type: int = 1,
    waveform: int = 1,
) -> Path:
    """Sweeps (rows) of a voltage of -200 to 200 mV; each epoch has a number of samples, a level and its increment per sweep."""
    sweeps, samples = voltage_mv.shape
    scale = 0.01  # volts of the converter per mV
    strings = b"SSCH" + bytes(40) + b"\0\0" + b"\0".join(text.encode() for text in STRINGS[1:]) + b"\0"
    content = {
        "ProtocolSection": (
            packed(
                512, (0, "h", 5), (2, "f", 1e6 / sampling_hz), (22, "i", samples), (30, "i", sweeps),
                (110, "f", 10.0), (118, "i", 32768),
            ),
            1,
        ),
        "ADCSection": (
            packed(128, (28, "f", 1.0), (40, "f", scale), (48, "f", 1.0), (74, "i", 3), (78, "i", 4)),
            1,
        ),
        "DACSection": (
            packed(
                256, (4, "f", holding_pa), (8, "f", 1.0), (12, "f", holding_pa), (24, "i", 5), (28, "i", 6),
                (40, "h", waveform), (42, "h", 1),
            ),
            1,
        ),
        "EpochPerDACSection": (
            b"".join(
                packed(
                    48, (0, "h", number), (4, "h", epoch_type), (6, "f", level), (10, "f", more), (14, "i", length)
                )
                for number, (length, level, more) in enumerate(steps)
            ),
            len(steps),
        ),
        "EpochSection": (b"".join(packed(32, (0, "h", k)) for k in range(len(steps))), len(steps)),
        "StringsSection": (strings, len(STRINGS)),
        "DataSection": (
            np.round(voltage_mv * scale / 10.0 * 32768).astype("<i2").tobytes(), sweeps * samples,
        ),
        "SynchArraySection": (
            b"".join(struct.pack("<ii", sweep * samples, samples) for sweep in range(sweeps)), sweeps,
        ),
    }  # fmt: skip
    header, body, block = bytearray(BLOCK * 2), b"", 2
    header[:4] = b"ABF2"
    struct.pack_into("<4B", header, 4, 0, 0, 0, 2)  # version
    struct.pack_into("<I", header, 12, sweeps)  # lActualEpisodes
    struct.pack_into("<I", header, 72, 2)  # of the path of the protocol
    for number, name in enumerate(SECTIONS):
        data, entries = content.get(name, (b"", 0))
        size = len(data) // entries if entries and name != "StringsSection" else len(data)
        struct.pack_into("<IIq", header, 76 + 16 * number, block if data else 0, size, entries)
        padded = data + bytes(-len(data) % BLOCK)
        body, block = body + padded, block + len(padded) // BLOCK
    path.write_bytes(bytes(header) + body)
    return path
