"""Shared fixtures: where the reference data lie, and that it is said when they do not."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ulmus.trials import TrialSource

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def compiler_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What torch.compile keeps, apart from the machine's: a file that a killed program left there must not fail a test."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))


@pytest.fixture(scope="session")
def official() -> Path:
    """The authors' checkpoints, and what their code computes: see tests/golden/README.md."""
    return REPOSITORY / "tests" / "golden" / "official"


@pytest.fixture(scope="session")
def browser() -> str:
    """A Chromium, or a skip that says which programs were looked for."""
    from browsing import installed_browser

    return installed_browser()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder with reconstructions and recordings that may not be shipped, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("ULMUS_REFERENCE", REPOSITORY.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(
            f"no reference data in {folder}; set ULMUS_REFERENCE to the folder that holds golden/ and data/"
        )
    return folder


@pytest.fixture(scope="session")
def reference_store(
    reference_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], "TrialSource"]:
    """Simulated trials of the published cell by the name of their file, each converted into a store once."""
    from reference_trials import write_reference_store

    folder = tmp_path_factory.mktemp("reference")

    @cache
    def store(name: str) -> "TrialSource":
        file = reference_data / "data" / "l5pc" / f"{name}.h5"
        if not file.exists():
            pytest.skip(f"{file} is not there")
        return write_reference_store(file, folder / name)

    return store


@pytest.fixture(scope="session")
def integrator_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 16 trials of 1.2 s of a leaky integrate-and-fire neuron with 8 excitatory and 4 inhibitory inputs."""
    import numpy as np

    from ulmus.trials import Header, StoreWriter, Trial

    folder = tmp_path_factory.mktemp("integrator") / "store"
    sign = np.repeat(np.array([1, -1], dtype=np.int8), [8, 4])
    header = Header(steps=1200, dt_ms=1.0, input_sign=sign, sites=("soma",), source="test integrator")
    writer = StoreWriter(folder, header, trials_total=16, shard_trials=8)
    for index in range(16):
        random = np.random.default_rng(index)
        drive = random.random((header.steps, header.inputs)) < 0.03
        voltage, membrane, synapse, spikes = np.empty(header.steps, dtype=np.float32), 0.0, 0.0, []
        for step, active in enumerate(drive):
            synapse = 0.8 * synapse + float(sign[active].sum())
            membrane = 0.95 * membrane + 0.4 * synapse
            if membrane > 8.0:
                spikes.append(step + 1.0)
                membrane = 0.0
            voltage[step] = -70.0 + membrane
        steps, inputs = np.nonzero(drive)
        trial = Trial(
            event_step=steps.astype(np.int32),
            event_input=inputs.astype(np.uint16),
            voltage_mv=voltage[:, None],
            spike_time_ms=np.array(spikes, dtype=np.float64),
            attributes={"seed": index},
        )
        writer.add(index, trial)
    writer.finish()
    return folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spoken digits that are easy to tell apart, in the published layout: each has seventy channels of its own."""
    import h5py
    import numpy as np

    folder = tmp_path_factory.mktemp("tones")
    for seed, (split, clips) in enumerate((("train", 200), ("test", 60))):
        random = np.random.default_rng(seed)
        labels = random.integers(10, size=clips).astype(np.uint16)
        with h5py.File(folder / f"tones_{split}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (clips,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (clips,), h5py.vlen_dtype(np.uint16))
            for index, label in enumerate(labels):
                times[index] = np.sort(random.uniform(0, 1, 60)).astype(np.float16)
                units[index] = (70 * int(label) + random.integers(70, size=60)).astype(np.uint16)
            file["labels"], file["extra/speaker"] = labels, np.arange(clips).astype(np.uint16) % 2
    return folder
