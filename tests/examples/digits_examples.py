"""Small files in the published layout, and small recordings, for the tests of this folder."""

import wave

import h5py
import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def make_spikes(clips, seed=0, last_s=1.4, spikes=200):
    """Times (half precision, as published) and units of some clips, ordered by time."""
    random = np.random.default_rng(seed)
    trains = []
    for index in range(clips):
        count = 0 if index == 1 else int(random.integers(1, spikes))
        times = np.sort(random.uniform(0, last_s, count)).astype(np.float16)
        trains.append((times, random.integers(700, size=count).astype(np.uint16)))
    return trains


def write_digits(path, clips=24, seed=0, classes=20, speakers=4, trains=None, omit=(), **changes):
    """A file in the published layout; `changes` replace datasets (``/`` written as ``__``)."""
    random = np.random.default_rng(seed + 1)
    trains = make_spikes(clips, seed) if trains is None else trains
    names = (*WORDS, *(f"de {word}" for word in WORDS), *(f"word {i}" for i in range(15)))[:classes]
    tables = {
        "labels": random.integers(classes, size=len(trains)).astype(np.uint16),
        "extra/speaker": np.arange(len(trains)).astype(np.uint16) % speakers,
        "extra/keys": np.array([name.encode() for name in names]),
    }
    tables |= {key.replace("__", "/"): value for key, value in changes.items()}
    with h5py.File(path, "w") as file:
        for position, (key, kind) in enumerate((("times", np.float16), ("units", np.uint16))):
            if f"spikes/{key}" not in omit:
                dataset = file.create_dataset(f"spikes/{key}", (len(trains),), h5py.vlen_dtype(kind))
                for index, train in enumerate(trains):
                    dataset[index] = train[position]
        for key, value in tables.items():
            if key not in omit:
                file[key] = value
    return path


def write_wav(path, samples, rate_hz=8000, width=2, channels=1):
    """16-bit (or other) PCM by the standard library; samples from -1 to 1, ``[samples]`` or ``[samples, channels]``."""
    if width == 1:
        data = np.round(samples * 127 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(np.asarray(samples) * (2 ** (8 * width - 1) - 1)).astype("<i4")
        data = whole.reshape(-1).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


def make_recordings(folder, speakers=("ann", "bob", "cy"), digits=(0, 3, 7), takes=2):
    """Short chirps, named as in the Free Spoken Digit Dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(700) / 8000
    for s, speaker in enumerate(speakers):
        for digit in digits:
            for take in range(takes):
                pitch = 300 + 200 * digit + 50 * s + 10 * take
                write_wav(folder / f"{digit}_{speaker}_{take}.wav", 0.5 * np.sin(2 * np.pi * pitch * time))
    return folder
