# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""The sequential part: the memory's recurrence, forward and backward, for one or two tiles of sequences side by side."""

from ulmus.kernels.numba_compiling import part
from ulmus.kernels.numba_functions import activate, activation_slope, tanh, zero_and_one
from ulmus.kernels.numba_lanes import fma, lanes_of, load, store
from ulmus.kernels.numba_products import GROUP, product


@part
def remember(
    sizes, net, inner, inner_at, inner_group, memory, memory_at, memory_group, groups, steps, hidden
):
    """Step equations from the drive in `inner` and the memory before the first step, in place.

    ``z_0 = drive + W_0 m``, ``z_l = e_l + W_l act(z_{l-1})``, ``d = tanh(z_last)``, ``m' = kappa m + gain d``.
    `inner` keeps the z of hidden layers and d; `memory` has one time slot more than there are steps.
    """
    lanes, rows = lanes_of(inner), sizes.rows
    width, pad, hidden_pad = sizes.width, sizes.memory_pad, sizes.hidden_pad
    zero, one = zero_and_one(inner)
    last = net.columns[sizes.later]
    for t in range(steps):
        # The drive is where the product's sum starts: the step's input costs no pass over the pre-activations of its own.
        now, before = inner_at + t * rows * width, memory_at + t * rows * pad
        product(
            inner, now, width, inner_group, inner, now, width, inner_group,
            memory, before, pad, memory_group, 1, groups * rows,
            net.w, net.w_at[0], net.pads[0], sizes.memory, net.widths[0],
        )  # fmt: skip
        for layer in range(1, sizes.later + 1):
            column, below = net.columns[layer], net.columns[layer - 1]
            for g in range(groups):
                for r in range(rows):
                    z_at, h_at = now + g * inner_group + r * width + below, (g * rows + r) * hidden_pad
                    for c in range(0, net.pads[layer - 1], lanes):
                        store(hidden, h_at + c, activate(sizes.activation, inner, z_at + c, zero, one))
            product(
                inner, now + column, width, inner_group, net.bias, column, 0, 0,
                hidden, 0, hidden_pad, rows * hidden_pad, 1, groups * rows,
                net.w, net.w_at[layer], net.pads[layer], net.widths[layer - 1], net.widths[layer],
            )  # fmt: skip
        for g in range(groups):
            for r in range(rows):
                d_at, m_at = now + g * inner_group + r * width + last, before + g * memory_group + r * pad
                for c in range(0, pad, lanes):
                    d = tanh(load(inner, d_at + c))
                    store(inner, d_at + c, d)
                    after = fma(load(net.memory_decay, c), load(memory, m_at + c), load(net.gain, c) * d)
                    store(memory, m_at + rows * pad + c, after)


@part
def remember_proposals(sizes, net, proposals, at, memory, memory_at, steps):
    """``m' = kappa m + gain d`` of one tile, where d is known."""
    rows, pad = sizes.rows, sizes.memory_pad
    for row in range(steps * rows):
        before = memory_at + row * pad
        for c in range(0, pad, lanes_of(memory)):
            d = load(proposals, at + row * sizes.width + c)
            after = fma(load(net.memory_decay, c), load(memory, before + c), load(net.gain, c) * d)
            store(memory, before + rows * pad + c, after)


@part
def restore_layers(sizes, net, inner, inner_at, memory, memory_at, rows, hidden, hidden_at):
    """All z below the last layer, for all `rows` (steps of one tile) at once, where the memory is known.

    The same sums in the same order as in `remember`, so the same numbers.
    """
    lanes, width, pad, last = lanes_of(inner), sizes.width, sizes.memory_pad, net.columns[sizes.later]
    zero, one = zero_and_one(inner)
    product(
        inner, inner_at, width, GROUP * width, inner, inner_at, width, GROUP * width,
        memory, memory_at, pad, GROUP * pad, 1, rows, net.w, net.w_at[0], net.pads[0], sizes.memory, net.widths[0],
    )  # fmt: skip
    for layer in range(1, sizes.later):
        column, below = net.columns[layer], net.columns[layer - 1]
        for row in range(rows):
            for c in range(below, below + net.pads[layer - 1], lanes):
                h = activate(sizes.activation, inner, inner_at + row * width + c, zero, one)
                store(hidden, hidden_at + row * last + c, h)
        product(
            inner, inner_at + column, width, GROUP * width, net.bias, column, 0, 0,
            hidden, hidden_at + below, last, GROUP * last, 1, rows,
            net.w, net.w_at[layer], net.pads[layer], net.widths[layer - 1], net.widths[layer],
        )  # fmt: skip


@part
def recall(
    sizes, net, inner, inner_at, inner_group, memory, memory_at, memory_group, groups, steps,
    hidden, hidden_group, outer, outer_group, carry, back, decay_sum, gain_sum, sum_group,
):  # fmt: skip
    """Backward of `remember`, in place: gradients of pre-activations replace what `inner` held.

    With dm the gradient of m' (from the outputs, `outer`, and from later steps, `carry`)::

        dz_last = dm gain (1 - d^2);  dh = W^T dz;  dz_l = act'(z_l) dh;  carry = kappa dm + W_0^T dz_0

    Activations go to `hidden` for the weight gradients, the sums of ``dm m`` and ``dm d`` to the gradients of decay and gain.
    """
    lanes, rows = lanes_of(inner), sizes.rows
    width, pad, hidden_pad = sizes.width, sizes.memory_pad, sizes.hidden_pad
    zero, one = zero_and_one(inner)
    last = net.columns[sizes.later]
    for t in range(steps - 1, -1, -1):
        now, before = inner_at + t * rows * width, memory_at + t * rows * pad
        for g in range(groups):
            for c in range(0, pad, lanes):
                decay, gain = load(net.memory_decay, c), load(net.gain, c)
                # Summed here and not as a product over all steps: the gradient dm is overwritten by the next step's.
                decays, gains = load(decay_sum, g * sum_group + c), load(gain_sum, g * sum_group + c)
                for r in range(rows):
                    at = (g * rows + r) * pad + c
                    dm = load(carry, at) + load(outer, g * outer_group + (t * rows + r) * pad + c)
                    d_at = now + g * inner_group + r * width + last + c
                    d = load(inner, d_at)
                    decays = fma(dm, load(memory, before + g * memory_group + r * pad + c), decays)
                    gains = fma(dm, d, gains)
                    store(inner, d_at, dm * gain * fma(zero - d, d, one))
                    store(carry, at, decay * dm)
                store(decay_sum, g * sum_group + c, decays)
                store(gain_sum, g * sum_group + c, gains)
        for layer in range(sizes.later, 0, -1):
            column, below = net.columns[layer], net.columns[layer - 1]
            below_pad = net.pads[layer - 1]
            product(
                back, 0, hidden_pad, rows * hidden_pad, net.zeros, 0, 0, 0,
                inner, now + column, width, inner_group, 1, groups * rows,
                net.w_back, net.w_back_at[layer], below_pad, net.widths[layer], net.widths[layer - 1],
            )  # fmt: skip
            for g in range(groups):
                for r in range(rows):
                    z_at = now + g * inner_group + r * width + below
                    h_at = g * hidden_group + (t * rows + r) * last + below
                    dh_at = (g * rows + r) * hidden_pad
                    for c in range(0, below_pad, lanes):
                        store(hidden, h_at + c, activate(sizes.activation, inner, z_at + c, zero, one))
                        slope = activation_slope(sizes.activation, inner, z_at + c, zero, one)
                        store(inner, z_at + c, slope * load(back, dh_at + c))
        product(
            carry, 0, pad, rows * pad, carry, 0, pad, rows * pad,
            inner, now, width, inner_group, 1, groups * rows,
            net.w_back, net.w_back_at[0], pad, net.widths[0], sizes.memory,
        )  # fmt: skip
