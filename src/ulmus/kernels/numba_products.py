# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Products of matrices, by blocks of sums that stay in registers.

``out[r, :] = start[r, :] + sum over k of x[r, k] w[k, :]``. A block is a few rows times up to three vectors; in each step
of k it loads three vectors of `w` and multiplies them with one number of `x` per row, repeated in all lanes. The same
block serves the step of the recurrence, products over all time steps, and (with rows and k of `x` exchanged) weight
gradients. A row's sum runs over k in the same order whatever block it falls into, if blocks have more than one row.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ulmus.kernels.numba_lanes import WIDE, Lanes, element_pointer, lanes_of, multiply_add, splat

GROUP = 4
"""Rows that lie together in memory; a block has one or two groups, or is a single row."""
BLOCK = 8 if WIDE else 4
"""Rows of the largest block: 8 x 3 vectors fill 32 registers, 4 x 3 fill 16."""


def _block(rows: int, vectors: int) -> Any:
    """Make the product of `rows` rows with `vectors` vectors of columns."""
    # One row alone is a chain of dependent sums: several partial sums keep the multipliers busy.
    partial = 4 if rows == 1 else 1

    @intrinsic
    def block(
        typingctx: Any,
        out: Any, out_at: Any, out_row: Any, out_group: Any,
        start: Any, start_at: Any, start_row: Any, start_group: Any,
        x: Any, x_at: Any, x_row: Any, x_group: Any, x_step: Any,
        w: Any, w_at: Any, w_step: Any, steps: Any,
    ) -> Any:  # fmt: skip
        lanes = Lanes(w.dtype)
        places = [types.intp] * 3
        signature = types.void(
            out, *places, start, *places, x, *places, types.intp, w, types.intp, types.intp, types.intp
        )

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _Block(context, builder, signature, args, lanes, rows, vectors, partial).generate()
            return context.get_dummy_value()

        return signature, generate

    @njit(error_model="numpy", no_cpython_wrapper=True)
    def product(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps):
        block(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)

    return product


class _Block:
    """Writes the instructions of one block."""

    def __init__(
        self,
        context: Any,
        builder: Any,
        signature: Any,
        args: Any,
        lanes: Lanes,
        rows: int,
        vectors: int,
        partial: int,
    ) -> None:
        self.context, self.builder, self.lanes = context, builder, lanes
        self.rows, self.vectors, self.partial = rows, vectors, partial
        self.align = lanes.element.bitwidth // 8
        self.types, self.args = signature.args, args

    def generate(self) -> None:
        out, start, x, w = (self._pointer(at) for at in (0, 4, 8, 13))
        out_place, start_place, x_place = self.args[2:4], self.args[6:8], self.args[10:12]
        x_step, w_step, steps = self.args[12], self.args[15], self.args[16]
        sums = [self._new_sum(start, start_place, row, vector) for row, vector in self._cells()]
        spare = [[self._zero_sum() for _ in sums] for _ in range(self.partial - 1)]
        sets = [sums, *spare]
        builder, intp = self.builder, steps.type
        whole = builder.mul(builder.udiv(steps, intp(self.partial)), intp(self.partial))
        with cgutils.for_range_slice(builder, intp(0), whole, intp(self.partial), intp) as (k, _):
            for offset, accumulators in enumerate(sets):
                self._step(builder.add(k, intp(offset)), accumulators, x, x_place, x_step, w, w_step)
        if self.partial > 1:
            with cgutils.for_range_slice(builder, whole, steps, intp(1), intp) as (k, _):
                self._step(k, sums, x, x_place, x_step, w, w_step)
        for number, (row, vector) in enumerate(self._cells()):
            total = [builder.load(accumulators[number]) for accumulators in sets]
            while len(total) > 1:
                total = [builder.fadd(total[i], total[i + 1]) for i in range(0, len(total), 2)]
            builder.store(total[0], self._vector_pointer(out, out_place, row, vector), align=self.align)

    def _cells(self) -> list[tuple[int, int]]:
        return [(row, vector) for row in range(self.rows) for vector in range(self.vectors)]

    def _pointer(self, at: int) -> Any:
        return element_pointer(self.context, self.builder, self.types[at], self.args[at], self.args[at + 1])

    def _place(self, base: Any, place: Any, row: int) -> Any:
        """Address of a row: rows are `place[0]` apart in a group, groups `place[1]`."""
        builder, stride, group = self.builder, place[0], place[1]
        offset = builder.add(
            builder.mul(stride, stride.type(row % GROUP)), builder.mul(group, stride.type(row // GROUP))
        )
        return builder.gep(base, [offset])

    def _vector_pointer(self, base: Any, place: Any, row: int, vector: int) -> Any:
        pointer = self.builder.gep(self._place(base, place, row), [place[0].type(vector * self.lanes.count)])
        return self.builder.bitcast(pointer, self._type().as_pointer())

    def _type(self) -> ir.VectorType:
        return ir.VectorType(ir.FloatType() if self.align == 4 else ir.DoubleType(), self.lanes.count)

    def _new_sum(self, start: Any, place: Any, row: int, vector: int) -> Any:
        value = self.builder.load(self._vector_pointer(start, place, row, vector), align=self.align)
        return cgutils.alloca_once_value(self.builder, value)

    def _zero_sum(self) -> Any:
        return cgutils.alloca_once_value(self.builder, ir.Constant(self._type(), None))

    def _step(self, k: Any, sums: Any, x: Any, x_place: Any, x_step: Any, w: Any, w_step: Any) -> None:
        builder = self.builder
        row_of_w = builder.gep(w, [builder.mul(k, w_step)])
        column_of_x = builder.gep(x, [builder.mul(k, x_step)])
        weights = []
        for vector in range(self.vectors):
            pointer = builder.gep(row_of_w, [k.type(vector * self.lanes.count)])
            weights.append(
                builder.load(builder.bitcast(pointer, self._type().as_pointer()), align=self.align)
            )
        for row in range(self.rows):
            number = splat(builder, builder.load(self._place(column_of_x, x_place, row)), self.lanes)
            for vector in range(self.vectors):
                total = sums[row * self.vectors + vector]
                builder.store(multiply_add(builder, number, weights[vector], builder.load(total)), total)


_block_1, _block_2, _block_3 = (_block(BLOCK, vectors) for vectors in (1, 2, 3))
_group_1, _group_2, _group_3 = (_block(GROUP, vectors) for vectors in (1, 2, 3))
_row_1, _row_2, _row_3 = (_block(1, vectors) for vectors in (1, 2, 3))


@njit(error_model="numpy", forceinline=True)
def product(
    out, out_at, out_row, out_group, start, start_at, start_row, start_group,
    x, x_at, x_row, x_group, x_step, rows, w, w_at, w_step, steps, columns,
):  # fmt: skip
    """``out[r, :columns] = start[r, :columns] + sum over k < steps of x[r, k] w[k, :columns]``.

    Every matrix is given by its array, the place of its first number, and how far apart rows and groups of rows lie.
    `columns` is a multiple of the lanes of a vector, and every row has that many numbers.
    """
    lanes = lanes_of(w)
    r = 0
    while r < rows:
        size = BLOCK if r + BLOCK <= rows else GROUP if r + GROUP <= rows else 1
        group, row = r // GROUP, r % GROUP
        o = out_at + group * out_group + row * out_row
        s = start_at + group * start_group + row * start_row
        xa = x_at + group * x_group + row * x_row
        column = 0
        while column < columns:
            left = (columns - column) // lanes
            vectors = 2 if left == 4 else min(3, left)  # a block of one vector waits for its loads
            _columns(
                size, vectors, out, o + column, out_row, out_group, start, s + column, start_row, start_group,
                x, xa, x_row, x_group, x_step, w, w_at + column, w_step, steps,
            )  # fmt: skip
            column += vectors * lanes
        r += size


@njit(error_model="numpy", forceinline=True)
def _columns(rows, vectors, o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps):
    """One block of rows, up to three vectors wide."""
    if rows == BLOCK:
        if vectors == 3:
            _block_3(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
        elif vectors == 2:
            _block_2(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
        else:
            _block_1(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
    elif rows == GROUP:
        if vectors == 3:
            _group_3(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
        elif vectors == 2:
            _group_2(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
        else:
            _group_1(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
    elif vectors == 3:
        _row_3(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
    elif vectors == 2:
        _row_2(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
    else:
        _row_1(o, oa, orow, og, s, sa, srow, sg, x, xa, xrow, xg, xk, w, wa, wk, steps)
