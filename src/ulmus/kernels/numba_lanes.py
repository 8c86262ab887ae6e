# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Vector registers for Numba: arithmetic on as many numbers at once as the processor has lanes.

Numba's own loops leave half of the registers idle here, because LLVM will not keep a block of sums in registers across
a loop over memory. So the vector is made a type of its own: `load` gives one, ``+ - * /`` and `fma` work on it, `store`
writes it back. Every array is flat and contiguous; places in it are counted in elements.
"""

import math
import operator
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model


def _host_features() -> Any:
    from numba.core import config

    named = config.CPU_FEATURES
    if named is None:
        return llvm.get_host_cpu_features()
    return {flag[1:]: flag.startswith("+") for flag in named.split(",") if flag}


_FEATURES = _host_features()
WIDE = bool(_FEATURES.get("avx512f"))
"""32 registers of 64 bytes."""
REGISTER_BYTES = 64 if WIDE else 32 if _FEATURES.get("avx2") else 16
X86 = llvm.get_process_triple().startswith(("x86_64", "i686", "i386"))


def lane_count(bytes_per_number: int) -> int:
    """Numbers in one vector."""
    return REGISTER_BYTES // bytes_per_number


class Lanes(types.Type):
    """Numba type of a vector of `count` numbers."""

    def __init__(self, element: Any) -> None:
        self.element = element
        self.count = lane_count(element.bitwidth // 8)
        super().__init__(name=f"Lanes({element}, {self.count})")


def _vector(lanes: Lanes) -> ir.VectorType:
    return ir.VectorType(_scalar(lanes.element), lanes.count)


def _scalar(element: Any) -> Any:
    return ir.FloatType() if element.bitwidth == 32 else ir.DoubleType()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes))


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """Address of one element of a flat array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


def constant(lanes: Lanes, value: float) -> ir.Constant:
    """The same number in every lane."""
    return ir.Constant(_vector(lanes), [value] * lanes.count)


def splat(builder: Any, scalar: Any, count: int) -> Any:
    """A number computed at run time in every one of so many lanes."""
    vector = ir.VectorType(scalar.type, count)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """LLVM's ``a * b + c``, rounded once: said so, since LLVM may not fuse the two by itself without changing results."""
    element = "f32" if isinstance(a.type.element, ir.FloatType) else "f64"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    name = f"llvm.fma.v{a.type.count}{element}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


@intrinsic
def load(typingctx: Any, array: Any, at: Any) -> Any:
    """The vector that starts at element `at`, wherever that is.

    Addresses are promised to be those of a number, not of a vector: arrays of NumPy and torch start anywhere.
    """
    lanes = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args)
        return builder.load(
            builder.bitcast(pointer, _vector(lanes).as_pointer()), align=lanes.element.bitwidth // 8
        )

    return lanes(array, types.intp), generate


@intrinsic
def store(typingctx: Any, array: Any, at: Any, lanes: Any) -> Any:
    """Write a vector to the elements from `at` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args[:2])
        builder.store(
            args[2], builder.bitcast(pointer, _vector(lanes).as_pointer()), align=lanes.element.bitwidth // 8
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def repeat(typingctx: Any, array: Any, value: Any) -> Any:
    """A number in every lane of a vector as `array` holds them."""
    lanes = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat(builder, args[1], lanes.count)

    return lanes(array, lanes.element), generate


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return multiply_add(builder, *args)

    return a(a, a, a), generate


@intrinsic
def where_greater(typingctx: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """`x` in the lanes where ``a > b``, else `y`; so NaN chooses `y`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return a(a, a, a, a), generate


@intrinsic
def sum_lanes(typingctx: Any, a: Any) -> Any:
    """Sum over the lanes, by halves: log2 steps that do not wait for one another as a running sum would."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector, count = args[0], a.count
        while count > 1:
            count //= 2
            undefined = ir.Constant(vector.type, ir.Undefined)
            halves = [
                builder.shuffle_vector(
                    vector,
                    undefined,
                    ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(at, at + count))),
                )
                for at in (0, count)
            ]
            vector = builder.fadd(*halves)
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return a.element(a), generate


def _arithmetic(symbol: Any, method: str) -> None:
    @intrinsic
    def compute(typingctx: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, method)(*args)

        return a(a, a), generate

    @overload(symbol)
    def choose(a, b):
        if isinstance(a, Lanes) and isinstance(b, Lanes):
            return lambda a, b: compute(a, b)  # noqa: PLW0108 (Numba reads the arguments' names)
        return None


for _symbol, _method in [
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
]:
    _arithmetic(_symbol, _method)


def _lane_by_lane(scalar: Any) -> Any:
    @intrinsic
    def compute(typingctx: Any, a: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = args[0]
            for lane in range(a.count):
                index = ir.Constant(ir.IntType(32), lane)
                number = builder.extract_element(vector, index)
                value = context.compile_internal(builder, scalar, a.element(a.element), [number])
                vector = builder.insert_element(vector, value, index)
            return vector

        return a(a), generate

    return compute


def _scalar_tanh(x):
    return math.tanh(x)


def _scalar_exp(x):
    return math.exp(x)


lanewise_tanh, lanewise_exp = _lane_by_lane(_scalar_tanh), _lane_by_lane(_scalar_exp)
"""The C library's functions, one lane after the other: for double precision."""


@intrinsic
def exchange_float_mode(typingctx: Any, mode: Any) -> Any:
    """Set the processor's floating-point mode of this thread; returns the mode before (0 where there is none)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not X86:
            return args[0]
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte])
        read = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr")
        write = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr")
        before, after = (
            cgutils.alloca_once(builder, ir.IntType(32)),
            cgutils.alloca_once(builder, ir.IntType(32)),
        )
        builder.call(read, [builder.bitcast(before, byte)])
        builder.store(args[0], after)
        builder.call(write, [builder.bitcast(after, byte)])
        return builder.load(before)

    return types.uint32(types.uint32), generate


def lanes_of(array: Any) -> int:
    """Numbers of this array that fit one vector."""
    return lane_count(array.dtype.itemsize)


@overload(lanes_of)
def _lanes_of(array):
    count = lane_count(array.dtype.bitwidth // 8)
    return lambda array: count


@intrinsic
def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
    """Have the cache line of an element brought near, without waiting for it; a place that does not exist does no harm."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [builder.bitcast(pointer, byte), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


# An assignment to a slice does the same as the next two, but compiles seconds of checks and messages with it, and a loop in
# Python looks for negative indices, so that it moves one number at a time.
@intrinsic
def clear(typingctx: Any, array: Any, at: Any, count: Any) -> Any:
    """Set so many numbers from `at` on to zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args[:2])
        size = builder.mul(args[2], args[2].type(array.dtype.bitwidth // 8))
        cgutils.memset(builder, pointer, size, 0)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@intrinsic
def copy(typingctx: Any, source: Any, at: Any, target: Any, to: Any, count: Any) -> Any:
    """Copy so many numbers from `source` to `target`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from_pointer = element_pointer(context, builder, signature.args[0], *args[:2])
        to_pointer = element_pointer(context, builder, signature.args[2], *args[2:4])
        cgutils.memcpy(builder, to_pointer, from_pointer, args[4])
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), generate
