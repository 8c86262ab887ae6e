"""The drawing of the dendrites: every piece once, in the colour of what was summed the slow way."""

import numpy as np

from ulmus.geometry import ON_SOMA, Geometry
from ulmus.report import Learned
from ulmus.report.morphology import morphology_figure, piece_weights, seen_flat, strongest_branch

PIECES, INPUTS = 9, 14


def geometry(seed: int = 0) -> Geometry:
    rng = np.random.default_rng(seed)
    return Geometry(
        proximal_um=rng.normal(0, 100, (PIECES, 3)),
        distal_um=rng.normal(0, 100, (PIECES, 3)),
        diameter_um=rng.uniform(0.3, 5, PIECES),
        input_piece=rng.integers(ON_SOMA, PIECES - 1, INPUTS),  # none on the last
        soma_centre_um=np.array([10.0, 20.0, 0.0]),
        soma_diameter_um=20.0,
    )


def learned(seed: int = 0) -> Learned:
    rng = np.random.default_rng(seed)
    return Learned(
        synaptic_weights=rng.gamma(1, 1, (4, 6)),
        connected=rng.random((4, 6)) < 0.8,
        input_index=rng.integers(0, INPUTS, (4, 6)),
        tau_memory_ms=np.array([30.0]),
        tau_synapse_ms=np.array([5.0]),
        input_sign=rng.permutation(np.repeat([1, -1], INPUTS // 2)),
    )


def test_weights_of_a_piece_are_those_of_the_inputs_on_it() -> None:
    where, what = geometry(), learned()
    expected = np.zeros((4, 2, PIECES))
    for branch in range(4):
        for synapse in range(6):
            source = what.input_index[branch, synapse]
            piece = where.input_piece[source]
            if what.connected[branch, synapse] and piece != ON_SOMA:
                sign = 0 if what.input_sign[source] > 0 else 1
                expected[branch, sign, piece] += what.synaptic_weights[branch, synapse]
    np.testing.assert_allclose(piece_weights(what, where), expected)
    strongest = strongest_branch(expected)
    for piece in range(PIECES):
        total = expected[:, :, piece].sum(axis=1)
        assert (np.isnan(strongest[piece]) and not total.any()) or total[int(strongest[piece]) - 1] == max(
            total
        )


def test_every_piece_is_drawn_once_in_every_view() -> None:
    where = geometry()
    figure = morphology_figure(learned(), where)
    flat = np.round(seen_flat(where), 1)
    for axis in ("x", "x2", "x3"):
        lines = [
            line
            for line in figure.data
            if line.mode == "lines" and line.xaxis == axis and np.isnan(line.x).any()
        ]
        drawn = np.concatenate(
            [np.stack([line.x, line.y], axis=1).reshape(-1, 3, 2)[:, :2] for line in lines]
        )
        assert sorted(map(tuple, drawn.reshape(-1, 4))) == sorted(map(tuple, flat.reshape(-1, 4)))


def test_the_heaviest_piece_is_the_darkest() -> None:
    where, what = geometry(), learned()
    total = piece_weights(what, where)[:, 0].sum(axis=0)
    heaviest = np.round(seen_flat(where)[int(np.argmax(total))], 1)
    figure = morphology_figure(what, where)

    def darkness(line) -> float:
        colour = line.line.color
        parts = (
            [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
            if colour[0] == "#"
            else [int(part) for part in colour[4:-1].split(",")]
        )
        return -sum(parts)

    lines = [
        line for line in figure.data if line.mode == "lines" and line.xaxis == "x" and np.isnan(line.x).any()
    ]
    darkest = max(lines, key=darkness)
    assert (np.stack([darkest.x, darkest.y], axis=1)[:2] == heaviest).all()


def test_a_cell_is_seen_along_the_axis_in_which_it_is_thinnest() -> None:
    ends = np.array([[0.0, 0, 0], [300, 5, 100]])
    for order, shown in (
        ([0, 1, 2], (300, 100)),
        ([0, 2, 1], (300, 100)),
        ([1, 0, 2], (100, 300)),
        ([2, 0, 1], (100, 300)),
    ):
        moved = ends[:, order]
        cell = Geometry(moved[:1], moved[1:], np.ones(1), np.zeros(1, dtype=int), np.zeros(3), 10.0)
        assert tuple(np.ptp(seen_flat(cell).reshape(-1, 2), axis=0)) == shown
