"""The vector functions against the C library in double precision, over all magnitudes."""

import numpy as np
import pytest
from numba import njit

from ulmus.kernels import numba_functions as functions
from ulmus.kernels.numba_lanes import lanes_of, load, store
from ulmus.kernels.numba_products import GROUP, product


@njit(error_model="numpy")
def apply_tanh(x, out):
    for at in range(0, len(x), lanes_of(x)):
        store(out, at, functions.tanh(load(x, at)))


@njit(error_model="numpy")
def apply_sigmoid(x, out):
    zero, one = functions.zero_and_one(x)
    for at in range(0, len(x), lanes_of(x)):
        store(out, at, functions.sigmoid(load(x, at), zero, one))


@njit(error_model="numpy")
def apply_exp(x, out):
    for at in range(0, len(x), lanes_of(x)):
        store(out, at, functions.exp(load(x, at)))


def magnitudes(largest):
    positive = np.logspace(-37, np.log10(largest), 1 << 20).astype(np.float32)
    return np.concatenate([-positive[::-1], positive])


def ulps(found, wanted):
    spacing = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    return np.abs(found - wanted) / spacing


def computed(function, x):
    out = np.empty_like(x)
    function(x, out)
    return out.astype(np.float64)


def test_tanh_within_2_ulp():
    x = magnitudes(1e30)
    found = computed(apply_tanh, x)
    assert ulps(found, np.tanh(x.astype(np.float64))).max() <= 2
    assert np.abs(found).max() <= 1
    assert (np.abs(found[np.abs(x) > 9.02]) == 1).all()


def test_exp_within_2_ulp():
    x = magnitudes(87)
    assert ulps(computed(apply_exp, x), np.exp(x.astype(np.float64))).max() <= 2


def test_sigmoid_within_4_ulp():
    x = magnitudes(86)
    wanted = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert ulps(computed(apply_sigmoid, x), wanted).max() <= 4
    far = magnitudes(1e30)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-far.astype(np.float64)))
    assert np.abs(computed(apply_sigmoid, far) - exact).max() < 3e-7


@pytest.mark.parametrize("function", [apply_tanh, apply_sigmoid, apply_exp])
def test_nan_and_infinity(function):
    x = np.zeros(16, np.float32)
    x[:3] = np.nan, np.inf, -np.inf
    out = computed(function, x)
    assert np.isnan(out[0])
    assert not np.isnan(out[1:]).any()
    if function is not apply_exp:
        assert out[1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_any_size(dtype):
    @njit(error_model="numpy")
    def multiply(out, start, x, w, rows, steps, columns):
        product(
            out, 0, columns, GROUP * columns, start, 0, 0, 0,
            x, 0, steps, GROUP * steps, 1, rows, w, 0, columns, steps, columns,
        )  # fmt: skip

    draw = np.random.default_rng(0)
    for rows in (1, 2, 4, 7, 8, 13):
        for vectors in (1, 2, 3, 5):
            for steps in (0, 1, 3, 10):
                columns = vectors * 16
                x, w = draw.standard_normal((rows, steps)), draw.standard_normal((steps, columns))
                start, out = draw.standard_normal(columns), np.full((rows, columns), np.nan)
                x, w, start, out = (array.astype(dtype) for array in (x, w, start, out))
                multiply(out.reshape(-1), start, x.reshape(-1), w.reshape(-1), rows, steps, columns)
                np.testing.assert_allclose(
                    out, start + x @ w, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13
                )
