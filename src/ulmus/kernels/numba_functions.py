# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""tanh, sigmoid and the activations on vectors.

Single precision: polynomials fitted for the smallest largest relative error. Bounds, tested over all magnitudes: tanh and
exp 2 ulp, sigmoid 4 ulp (where it would underflow, below 1e-37). Double precision takes the C library. NaN stays NaN.
"""

from typing import Any

from llvmlite import ir
from numba import float32
from numba.extending import intrinsic, overload

from ulmus.kernels.numba_compiling import inlined
from ulmus.kernels.numba_lanes import (
    Lanes,
    constant,
    fma,
    lanewise_exp,
    lanewise_tanh,
    load,
    multiply_add,
    repeat,
    where_greater,
)

RELU, SILU, SQUARED_RELU = 0, 1, 2
ACTIVATION_CODES = {"relu": RELU, "silu": SILU, "squared_relu": SQUARED_RELU}

# tanh(x) = x + x^3 P(x^2) for |x| < 0.625, relative error 5e-9; beyond, 1 - 2 / (exp(2 x) + 1) loses nothing.
_TANH_SMALL = 0.625
_TANH_P = (
    -0.005704986329401429,
    0.020639086570101033,
    -0.05373971484646856,
    0.1333144219475828,
    -0.33333281941854204,
)
# exp(x) = 1 + x + x^2 P(x) for |x| <= ln(2) / 2; relative error 3e-9.
_EXP_P = (
    0.0013814598242316465,
    0.008368716912647376,
    0.041668388053817985,
    0.16666520631355186,
    0.4999999344775363,
)
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4  # their sum is ln 2; the high part has 10 bits
_ROUND_TO_INTEGER = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits
# Between these, 2^n is a normal number: its exponent is written into the bits of a float, and would run over into the sign.
# Flushed to zero or infinite, the result could turn 0 * inf in a sigmoid into NaN.
_EXP_LOW, _EXP_HIGH = -87.0, 88.0


def _polynomial(builder: Any, lanes: Lanes, coefficients: tuple[float, ...], x: Any) -> Any:
    value = constant(lanes, coefficients[0])
    for coefficient in coefficients[1:]:
        value = multiply_add(builder, value, x, constant(lanes, coefficient))
    return value


def _clamp(builder: Any, lanes: Lanes, x: Any, low: float, high: float) -> Any:
    for relation, bound in ((">", high), ("<", low)):
        limit = constant(lanes, bound)
        # Ordered comparisons are false for NaN, which so passes through.
        x = builder.select(builder.fcmp_ordered(relation, x, limit), limit, x)
    return x


def _write_exp(builder: Any, lanes: Lanes, x: Any) -> Any:
    """``2^n exp(rest)`` with n the nearest integer to ``x / ln 2``; ln 2 is subtracted in two steps to keep `rest` exact."""
    x = _clamp(builder, lanes, x, _EXP_LOW, _EXP_HIGH)
    shifted = multiply_add(builder, x, constant(lanes, _LOG2_E), constant(lanes, _ROUND_TO_INTEGER))
    whole = builder.fsub(shifted, constant(lanes, _ROUND_TO_INTEGER))
    rest = multiply_add(builder, whole, constant(lanes, -_LN2_HIGH), x)
    rest = multiply_add(builder, whole, constant(lanes, -_LN2_LOW), rest)
    tail = builder.fmul(builder.fmul(rest, rest), _polynomial(builder, lanes, _EXP_P, rest))
    mantissa = builder.fadd(builder.fadd(tail, rest), constant(lanes, 1.0))
    integers = ir.VectorType(ir.IntType(32), lanes.count)
    bits = builder.shl(builder.bitcast(shifted, integers), ir.Constant(integers, [23] * lanes.count))
    bits = builder.add(bits, ir.Constant(integers, [127 << 23] * lanes.count))
    return builder.fmul(mantissa, builder.bitcast(bits, x.type))


@intrinsic
def _tanh_single(typingctx: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, one, integers = args[0], constant(a, 1.0), ir.VectorType(ir.IntType(32), a.count)
        # Computed of the magnitude, with the sign put back at the end: tanh is odd to the last bit.
        bits = builder.bitcast(x, integers)
        size = builder.and_(bits, ir.Constant(integers, [0x7FFFFFFF] * a.count))
        sign = builder.xor(bits, size)
        size = builder.bitcast(size, x.type)
        grown = builder.fadd(_write_exp(builder, a, builder.fadd(size, size)), one)
        large = builder.fsub(one, builder.fdiv(constant(a, 2.0), grown))
        large = builder.bitcast(builder.or_(builder.bitcast(large, integers), sign), x.type)
        square = builder.fmul(x, x)
        small = multiply_add(builder, builder.fmul(x, square), _polynomial(builder, a, _TANH_P, square), x)
        return builder.select(builder.fcmp_ordered("<", size, constant(a, _TANH_SMALL)), small, large)

    return a(a), generate


@intrinsic
def _exp_single(typingctx: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _write_exp(builder, a, args[0])

    return a(a), generate


def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a vector."""


@overload(tanh)
def _tanh(x):
    if x.element == float32:
        return lambda x: _tanh_single(x)  # noqa: PLW0108 (Numba reads the argument's name)
    return lambda x: lanewise_tanh(x)  # noqa: PLW0108


def exp(x: Any) -> Any:
    """Exponential of a vector."""


@overload(exp)
def _exp(x):
    if x.element == float32:
        return lambda x: _exp_single(x)  # noqa: PLW0108
    return lambda x: lanewise_exp(x)  # noqa: PLW0108


@inlined
def sigmoid(x: Any, zero: Any, one: Any) -> Any:
    """``1 / (1 + exp(-x))``."""
    return one / (one + exp(zero - x))


@inlined
def activate(code: int, array: Any, at: int, zero: Any, one: Any) -> Any:
    """Activation of the vector of pre-activations at `at`."""
    z = load(array, at)
    if code == SILU:
        return z * sigmoid(z, zero, one)
    rectified = where_greater(zero, z, zero, z)  # z itself where z is NaN
    if code == SQUARED_RELU:
        return rectified * rectified
    return rectified


@inlined
def activation_slope(code: int, array: Any, at: int, zero: Any, one: Any) -> Any:
    """Derivative of the activation at the vector of pre-activations at `at`."""
    z = load(array, at)
    if code == SILU:
        gate = sigmoid(z, zero, one)
        return fma(z * gate, one - gate, gate)
    if code == SQUARED_RELU:
        positive = where_greater(z, zero, z, zero)
        return positive + positive
    return where_greater(z, zero, one, zero)


@inlined
def zero_and_one(array: Any) -> Any:
    """Vectors of zeros and of ones as `array` holds them."""
    return repeat(array, array.dtype.type(0)), repeat(array, array.dtype.type(1))
