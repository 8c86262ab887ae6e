import numpy as np
import pytest
import torch
from exports import bench_exports

import ulmus


@pytest.mark.slow
def test_every_language_computes_the_same_voltage():
    rows = bench_exports(("l5pc-small",), 40, rounds=1)
    if not rows:
        pytest.skip("neither gcc nor node nor NEURON is installed")
    rng = np.random.default_rng(0)
    rate = np.repeat([0.012, 0.004], 639)
    x = np.stack([rng.random(1278) < rate for _ in range(40)]) * np.repeat([1.0, -1.0], 639)
    with ulmus.use_backend("reference"):
        wanted = ulmus.load("l5pc-small").double().predict(torch.as_tensor(x).unsqueeze(0)).voltage_mv.mean()
    for row in rows:
        assert row.mean_voltage_mv == pytest.approx(float(wanted), rel=1e-7)
        assert row.times_real_time == pytest.approx(row.steps_per_second / 1000)
