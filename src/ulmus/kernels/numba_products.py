# mypy: disable-error-code="no-untyped-call"
"""Products of matrices, by blocks of sums that stay in registers.

``out[r, :] = start[r, :] + sum over k of x[r, k] w[k, :]``. A block is a few rows times up to three vectors; in each step
of k it loads three vectors of `w` and multiplies them with one number of `x` per row, repeated in all lanes. The same
block serves the step of the recurrence, products over all time steps, and (with rows and k of `x` exchanged) weight
gradients. A row's sum runs over k in the same order whatever block it falls into, if blocks have more than one row.

The product is written as LLVM instructions, one function for each precision, and never inlined: a pass has two dozen products,
and copies of nine blocks in each were two thirds of the time that the first call of a new installation took to compile.
It takes bare addresses, since an array of Numba's would be seven arguments.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ulmus.kernels.numba_lanes import WIDE, Lanes, element_pointer, multiply_add, splat

GROUP = 4
"""Rows that lie together in memory; a block has one or two groups, or is a single row."""
BLOCK = 8 if WIDE else 4
"""Rows of the largest block. Its sums, the vectors of `w` and one number of `x` are in registers at the same time: 8 x 3 of 32
registers (AVX-512), or 4 x 3 of 16. More rows would spill, fewer would leave multipliers waiting for loads of `w`."""
VECTORS = 3
"""Vectors of the widest block: a number of `x` is loaded and repeated once for three multiplications."""

_INT = ir.IntType(64)


class _Place:
    """Where a matrix lies: rows are `row` numbers apart in a group, groups of rows `group`."""

    def __init__(self, builder: Any, base: Any, row: Any, group: Any) -> None:
        self.builder, self.base, self.row, self.group = builder, base, row, group

    def of(self, row: int) -> Any:
        """Address of a row of the block."""
        inside, outside = self.row.type(row % GROUP), self.row.type(row // GROUP)
        builder = self.builder
        offset = builder.add(builder.mul(self.row, inside), builder.mul(self.group, outside))
        return builder.gep(self.base, [offset])

    def moved(self, numbers: Any) -> "_Place":
        """The same matrix some numbers further on."""
        return _Place(self.builder, self.builder.gep(self.base, [numbers]), self.row, self.group)


class _Product:
    """Writes the instructions of the product."""

    def __init__(self, module: Any, name: str, lanes: Lanes) -> None:
        self.lanes, self.align = lanes.count, lanes.element.bitwidth // 8
        self.number = ir.FloatType() if self.align == 4 else ir.DoubleType()
        pointer = self.number.as_pointer()
        self.kind = ir.FunctionType(
            ir.VoidType(),
            [pointer, _INT, _INT, pointer, _INT, _INT, pointer, _INT, _INT, _INT, _INT, pointer, *[_INT] * 3],
        )
        self.function = cgutils.get_or_insert_function(module, self.kind, name)
        if not self.function.is_declaration:
            return
        self.function.linkage = "linkonce_odr"  # every function that calls it brings a copy; one is kept
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._write()
        self.builder.ret_void()

    def _write(self) -> None:
        builder, arguments = self.builder, self.function.args
        out, start, x = (_Place(builder, *arguments[at : at + 3]) for at in (0, 3, 6))
        self.x_step, rows, w, self.w_step, self.steps, columns = arguments[9:]
        half = _INT(self.lanes // 2)
        halves = builder.udiv(builder.add(columns, builder.sub(half, _INT(1))), half)
        done: Any = _INT(0)
        for size in dict.fromkeys((BLOCK, GROUP, 1)):  # the largest blocks first, then what they leave
            left = builder.sub(rows, done)
            end = builder.add(done, builder.sub(left, builder.urem(left, _INT(size))))
            with cgutils.for_range_slice(builder, done, end, _INT(size), _INT) as (row, _):
                inside, group = builder.urem(row, _INT(GROUP)), builder.udiv(row, _INT(GROUP))
                places = [
                    place.moved(builder.add(builder.mul(group, place.group), builder.mul(inside, place.row)))
                    for place in (out, start, x)
                ]
                self._columns(size, places, w, halves)
            done = end

    def _columns(self, rows: int, places: list[_Place], w: Any, halves: Any) -> None:
        """One block of rows, in as many blocks of three vectors as leave none or two: a block of one waits for its loads.

        The last of many rows' is one and a half vectors wide where that is enough: of 50 columns, 6 are padding and not 14.
        """
        builder, one = self.builder, _INT(1)
        odd = (
            _INT(0)
            if rows < BLOCK
            else builder.and_(halves, builder.zext(builder.icmp_unsigned(">", halves, one), _INT))
        )
        count = builder.sub(builder.udiv(builder.add(halves, one), _INT(2)), builder.mul(odd, _INT(2)))
        triples = builder.udiv(count, _INT(3))
        one_left = builder.and_(
            builder.icmp_unsigned("==", builder.urem(count, _INT(3)), one),
            builder.icmp_unsigned(">=", count, _INT(4)),
        )
        triples = builder.sub(triples, builder.zext(one_left, _INT))
        done: Any = _INT(0)
        for vectors in (3, 2, 1):
            left = builder.sub(count, done)
            blocks = triples if vectors == 3 else builder.udiv(left, _INT(vectors))
            end = builder.add(done, builder.mul(blocks, _INT(vectors)))
            with cgutils.for_range_slice(builder, done, end, _INT(vectors), _INT) as (vector, _):
                self._block(rows, [self.lanes] * vectors, places, w, builder.mul(vector, _INT(self.lanes)))
            done = end
        if rows == BLOCK:
            with builder.if_then(builder.trunc(odd, ir.IntType(1))):
                self._block(
                    rows, [self.lanes, self.lanes // 2], places, w, builder.mul(count, _INT(self.lanes))
                )

    def _block(self, rows: int, widths: list[int], places: list[_Place], w: Any, column: Any) -> None:
        """So many rows and vectors of these many lanes."""
        builder = self.builder
        out, start, x, w = (
            places[0].moved(column),
            places[1].moved(column),
            places[2],
            builder.gep(w, [column]),
        )
        vectors = [
            (number * self.lanes, ir.VectorType(self.number, width)) for number, width in enumerate(widths)
        ]
        cells = [(row, *vector) for row in range(rows) for vector in vectors]
        # One row alone is a chain of dependent sums: several partial sums keep the multipliers busy.
        partial = 4 if rows == 1 else 1
        sums = [
            cgutils.alloca_once_value(builder, self._load(start.of(row), offset, vector))
            for row, offset, vector in cells
        ]
        sets = [sums]
        for _ in range(partial - 1):
            sets.append(
                [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for *_, vector in cells]
            )
        whole = builder.sub(self.steps, builder.urem(self.steps, _INT(partial)))
        with cgutils.for_range_slice(builder, _INT(0), whole, _INT(partial), _INT) as (k, _):
            for offset, accumulators in enumerate(sets):
                self._step(builder.add(k, _INT(offset)), rows, vectors, accumulators, x, w)
        if partial > 1:
            with cgutils.for_range_slice(builder, whole, self.steps, _INT(1), _INT) as (k, _):
                self._step(k, rows, vectors, sums, x, w)
        for number, (row, offset, vector) in enumerate(cells):
            total = [builder.load(accumulators[number]) for accumulators in sets]
            while len(total) > 1:
                total = [builder.fadd(total[i], total[i + 1]) for i in range(0, len(total), 2)]
            # Stored as a whole vector, since that is how it is read: a processor waits where it reads what it has just
            # written in two parts.
            every = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [*range(self.lanes)])
            filled = builder.shuffle_vector(total[0], ir.Constant(vector, None), every)
            builder.store(filled, self._at(out.of(row), offset, filled.type), align=self.align)

    def _at(self, address: Any, offset: int, vector: ir.VectorType) -> Any:
        return self.builder.bitcast(self.builder.gep(address, [_INT(offset)]), vector.as_pointer())

    def _load(self, address: Any, offset: int, vector: ir.VectorType) -> Any:
        return self.builder.load(self._at(address, offset, vector), align=self.align)

    def _step(
        self, k: Any, rows: int, vectors: list[tuple[int, ir.VectorType]], sums: list[Any], x: _Place, w: Any
    ) -> None:
        """Add ``x[:, k] w[k, :]`` to the sums."""
        builder = self.builder
        row_of_w = builder.gep(w, [builder.mul(k, self.w_step)])
        column_of_x = x.moved(builder.mul(k, self.x_step))
        weights = [self._load(row_of_w, *vector) for vector in vectors]
        for row in range(rows):
            number = builder.load(column_of_x.of(row))
            for weight, total in zip(weights, sums[row * len(vectors) :], strict=False):
                repeated = splat(builder, number, weight.type.count)
                builder.store(multiply_add(builder, repeated, weight, builder.load(total)), total)


@intrinsic
def product(
    typingctx: Any,
    out: Any, out_at: Any, out_row: Any, out_group: Any,
    start: Any, start_at: Any, start_row: Any, start_group: Any,
    x: Any, x_at: Any, x_row: Any, x_group: Any, x_step: Any, rows: Any,
    w: Any, w_at: Any, w_step: Any, steps: Any, columns: Any,
) -> Any:  # fmt: skip
    """``out[r, :columns] = start[r, :columns] + sum over k < steps of x[r, k] w[k, :columns]``.

    Every matrix is given by its array, the place of its first number, and how far apart rows and groups of rows lie.
    Rows are written up to a multiple of the lanes of a vector, and have that many numbers; what half a vector can leave out is
    zero.
    """
    lanes, place = Lanes(w.dtype), [types.intp] * 3
    signature = types.void(
        out, *place, start, *place, x, *place, types.intp, types.intp, w, types.intp, types.intp, types.intp, types.intp
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def address(at: int) -> Any:
            return element_pointer(context, builder, signature.args[at], args[at], args[at + 1])

        written = _Product(builder.module, f"ulmus.product.{lanes.element}", lanes)
        numbers = [
            address(0), *args[2:4], address(4), *args[6:8], address(8), *args[10:14], address(14), *args[16:19]
        ]  # fmt: skip
        builder.call(written.function, numbers)
        return context.get_dummy_value()

    return signature, generate
