"""Small files in the published layout of NeuronIO."""

import gzip
import lzma
import pickle
from pathlib import Path

import numpy as np

STEPS, SEGMENTS = 1000, 5


def simulation(seed: int = 0, steps: int = STEPS) -> dict:
    random = np.random.default_rng(seed)

    def times(segments):
        return {s: sorted(random.choice(steps, 9, replace=False).tolist()) for s in segments}

    return {
        "exInputSpikeTimes": times([0, 1, 4]),
        "inhInputSpikeTimes": times([2]),
        "outputSpikeTimes": np.array([20.125, 333.5], np.float16) if seed % 2 else np.array([], np.float16),
        "somaVoltageLowRes": random.normal(-70, 5, steps).astype(np.float16),
        "nexusVoltageLowRes": random.normal(-60, 5, steps).astype(np.float16),
        "somaVoltageHighRes": random.normal(-70, 5, (4, 7)).astype(np.float16).T,
    }


def content(simulations: int = 2) -> dict:
    return {
        "Params": {
            "randomSeed": np.int64(7),
            "totalSimDurationInSec": 1,
            "allSegmentsType": ["basal"] * 3 + ["apical"] * 2,
            "num_bas_ex_spikes_per_100ms_range": [0, 800],
            "listOfISIs": np.array([np.array([1.0]), "x"], dtype=object),
        },
        "Results": {"listOfSingleSimulationDicts": [simulation(seed) for seed in range(simulations)]},
    }


def write(folder: Path, value: object, name: str = "sim__test.p", protocol: int = 2) -> Path:
    path = folder / name
    data = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
    path.write_bytes({".xz": lzma.compress, ".gz": gzip.compress}.get(path.suffix, bytes)(data))
    return path


def changed(*keys, value=None):
    tree = content()
    place = tree
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return tree
