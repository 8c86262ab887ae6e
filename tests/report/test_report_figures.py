"""What figures show, against counts and sums taken the slow way."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmus.errors import ConfigError
from ulmus.evaluation.memory_encoding import MemoryEncoding
from ulmus.report import Confusion, Example, Learned, LearningCurve, RocCurve, TimeConstants
from ulmus.report.figures import (
    block_means,
    branch_weights_figure,
    confusion_figure,
    learning_curve_figure,
    roc_figure,
    rows_of_sign,
    running_mean,
    summed_weights,
    time_constants_figure,
    weight_profile_figure,
)
from ulmus.report.memory_figure import memory_summary
from ulmus.report.traces import input_raster, trace_figure


def small_example(steps: int = 230, inputs: int = 7, seed: int = 0, events: int = 300) -> Example:
    rng = np.random.default_rng(seed)
    flat = np.full(steps, -70.0)
    return Example(
        label="small",
        time_ms=np.arange(steps, dtype=float),
        voltage_mv=flat,
        predicted_voltage_mv=flat + 1,
        spike_times_ms=np.array([20.0]),
        predicted_spike_times_ms=np.array([21.0]),
        spike_probability=np.zeros(steps),
        event_time_ms=rng.integers(0, steps, events).astype(float),
        event_input=rng.integers(0, inputs, events),
        input_sign=rng.permutation(np.r_[1, -1, rng.choice([-1, 1], inputs - 2)]),
    )


def small_learned(seed: int = 0, branches: int = 4, synapses: int = 6, inputs: int = 10) -> Learned:
    rng = np.random.default_rng(seed)
    return Learned(
        synaptic_weights=rng.gamma(1, 1, (branches, synapses)),
        connected=rng.random((branches, synapses)) < 0.8,
        input_index=rng.integers(0, inputs, (branches, synapses)),
        tau_memory_ms=np.array([30.0, 1.0, 150.0]),
        tau_synapse_ms=np.array([5.0]),
        input_sign=rng.choice([-1, 1], inputs),
    )


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(2, 400), inputs=st.integers(2, 120), seed=st.integers(0, 99), events=st.integers(0, 500)
)
def test_raster_counts_every_event_once_and_in_its_place(
    steps: int, inputs: int, seed: int, events: int
) -> None:
    example = small_example(steps, inputs, seed, events)
    for sign in (1, -1):
        raster = input_raster(example, sign)
        of_sign = [i for i in range(inputs) if example.input_sign[i] == sign]
        expected = np.zeros(raster.events.shape, dtype=int)
        for time_ms, channel in zip(example.event_time_ms, example.event_input, strict=True):
            if channel in of_sign:
                row = int(np.searchsorted(raster.row_edge, of_sign.index(channel), side="right")) - 1
                # The last cell includes its right edge.
                column = min(int(time_ms // 5), expected.shape[1] - 1)
                expected[row, column] += 1
        np.testing.assert_array_equal(raster.events, expected)


def test_long_trials_get_wider_cells() -> None:
    raster = input_raster(small_example(steps=60_000), 1)
    assert raster.events.shape[1] <= 1200
    assert raster.time_edge_ms[1] - raster.time_edge_ms[0] == 50


def test_all_panels_share_one_time_axis() -> None:
    figure = trace_figure(small_example())
    assert len(figure.data) == 7
    assert {trace.xaxis or "x" for trace in figure.data} == {"x"}
    domains = sorted(axis.domain for axis in figure.select_yaxes())
    assert all(below[1] < above[0] for below, above in zip(domains, domains[1:], strict=False))


def test_summed_weights_and_rows_leave_out_what_is_not_connected() -> None:
    learned = small_learned()
    total = np.zeros(10)
    for branch in range(4):
        for synapse in range(6):
            if learned.connected[branch, synapse]:
                total[learned.input_index[branch, synapse]] += learned.synaptic_weights[branch, synapse]
    np.testing.assert_allclose(summed_weights(learned), total)
    for sign in (1, -1):
        weights, inputs = rows_of_sign(learned, sign)
        for branch in range(4):
            keep = learned.connected[branch] & (learned.input_sign[learned.input_index[branch]] == sign)
            count = int(keep.sum())
            np.testing.assert_array_equal(weights[branch, :count], learned.synaptic_weights[branch, keep])
            np.testing.assert_array_equal(inputs[branch, :count], learned.input_index[branch, keep])
            assert np.isnan(weights[branch, count:]).all()


def test_branches_of_one_sign_fill_the_width() -> None:
    learned = replace(small_learned(), input_sign=np.ones(10, dtype=int))
    figure = branch_weights_figure(learned)
    assert len(figure.data) == 1
    assert figure.layout.xaxis.domain == (0, 1)


def test_thinned_roc_follows_the_whole_curve() -> None:
    rng = np.random.default_rng(1)
    rate = np.sort(np.r_[0, rng.random(50_000) ** 4, 1])
    hits = np.sort(np.r_[0, rng.random(50_000) ** 0.2, 1])
    for logarithmic in (True, False):
        curve = roc_figure(RocCurve(rate, hits, 0.9), logarithmic=logarithmic).data[1]
        assert len(curve.x) < 2500
        np.testing.assert_allclose(
            np.interp(rate[rate >= curve.x[0]], curve.x, curve.y), hits[rate >= curve.x[0]], atol=0.005
        )
        assert (curve.x[-1], curve.y[-1]) == (1, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2000))
def test_block_means_keep_the_mean(length: int) -> None:
    rng = np.random.default_rng(length)
    step, value = np.arange(length), rng.random(length)
    steps, values = block_means(step, value)
    assert len(steps) == min(600, length)
    if length <= 600:
        np.testing.assert_allclose(values, value)
    else:
        parts = [part.mean() for part in np.split(value, np.linspace(0, length, 601).astype(int)[1:-1])]
        np.testing.assert_allclose(values, parts)


def test_running_mean_at_the_ends_takes_what_is_there() -> None:
    values = np.random.default_rng(2).random(50)
    mean = running_mean(values)
    assert mean.shape == values.shape
    np.testing.assert_allclose(mean[25], values[15:36].mean())
    np.testing.assert_allclose(mean[0], values[:11].mean())
    np.testing.assert_allclose(running_mean(np.full(3, 2.0)), 2.0)


def test_undefined_validation_is_said_in_the_figure() -> None:
    steps = np.arange(4)
    figure = learning_curve_figure(
        LearningCurve(steps, np.ones(4), steps, {"AUC": np.full(4, np.nan), "RMSE (mV)": np.ones(4)})
    )
    assert any("no spike" in annotation.text for annotation in figure.layout.annotations)


def test_time_constants_are_sorted_and_the_synaptic_one_marked() -> None:
    figure = time_constants_figure(TimeConstants("", np.array([30.0, 1.0, 150.0]), np.array([5.0])))
    np.testing.assert_array_equal(figure.data[1].x, [1, 30, 150])
    assert [shape.x0 for shape in figure.layout.shapes] == [5]
    assert "5 ms" in figure.layout.annotations[0].text


def test_confusion_is_drawn_as_shares_of_every_class_with_its_counts() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    (drawn,) = confusion_figure(Confusion(("0", "10", "9"), counts)).data
    np.testing.assert_allclose(drawn.z, [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]])
    assert list(drawn.text[0]) == ["0.75", "0.25", ""]
    assert tuple(drawn.customdata[2][1]) == (2, "9", "10")
    many = Confusion(tuple(map(str, range(40))), np.eye(40, dtype=int))
    assert confusion_figure(many).data[0].text is None


def test_the_panels_of_a_learning_curve_share_the_height() -> None:
    steps = np.arange(4)
    for count in (1, 2, 3):
        validation = {f"score {number}": np.ones(4) for number in range(count)}
        figure = learning_curve_figure(LearningCurve(steps, np.ones(4), steps, validation))
        domains = [axis.domain for axis in figure.select_yaxes()]
        assert (len(domains), min(domains)[0], max(domains)[1]) == (count + 1, 0, pytest.approx(1))
        assert all(upper[0] > lower[1] for upper, lower in zip(domains, domains[1:], strict=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voltage_mv": np.zeros(3)}, "voltage_mv"),
        ({"event_time_ms": np.zeros(3)}, "event_time_ms"),
        ({"event_input": np.full(300, 7)}, "inputs 0 to 6"),
        ({name: np.zeros(1) for name in ("time_ms", "voltage_mv", "predicted_voltage_mv", "spike_probability")}, "1 time steps"),
    ],
)  # fmt: skip
def test_examples_that_do_not_fit_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(small_example(), **changes)


def test_other_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="true_positive_rate"):
        RocCurve(np.zeros(3), np.zeros(2), 0.5)
    with pytest.raises(ConfigError, match="AUC"):
        LearningCurve(np.arange(2), np.zeros(2), np.arange(2), {"AUC": np.zeros(3)})
    with pytest.raises(ConfigError, match=r"shape \(2, 3\).*each of 2 classes"):
        Confusion(("a", "b"), np.zeros((2, 3), dtype=int))
    with pytest.raises(ConfigError, match="connected"):
        replace(small_learned(), connected=np.ones((2, 2), dtype=bool))
    with pytest.raises(ConfigError, match="inputs 0 to 9"):
        replace(small_learned(), input_index=np.full((4, 6), 10))
    flat = {name: np.zeros(4, dtype=int) for name in ("synaptic_weights", "connected", "input_index")}
    with pytest.raises(ConfigError, match=r"\[branches, synapses\]"):
        replace(small_learned(), **flat)


def test_the_beginning_that_is_not_scored_is_shaded() -> None:
    def shaded(example: Example) -> list[tuple[float, float]]:
        shapes = trace_figure(example).layout.shapes
        return [(shape.x0, shape.x1) for shape in shapes if shape.type == "rect"]

    assert shaded(replace(small_example(), unscored_ms=100.0)) == [(0.0, 100.0)]
    assert shaded(small_example()) == []


@pytest.mark.parametrize("values", [[0.4], [1.0, 1.0], [0.0, 0.3], [0.96, 0.98, np.nan]])
def test_the_axis_of_a_validated_auc_stays_near_the_values_and_within_what_there_can_be(values) -> None:
    steps, auc = np.arange(len(values)), np.array(values)
    curve = LearningCurve(steps, np.ones(len(values)), steps, {"AUC": auc, "RMSE (mV)": auc})
    low, high = learning_curve_figure(curve).layout.yaxis2.range
    assert -0.01 <= low <= np.nanmin(auc) <= np.nanmax(auc) <= high <= 1.01
    assert high - low <= 1.2 * np.ptp(auc[np.isfinite(auc)]) + 0.05


def test_variance_that_no_readout_explains_is_none() -> None:
    def summary(explained: float) -> str:
        one, nothing = np.ones(1), np.zeros(1)
        return memory_summary(
            MemoryEncoding(
                one, nothing.astype(int), ("voltage", "all"), np.full((1, 2), explained), nothing, nothing, 2
            )
        )

    assert summary(-1.47) == "Of the variance of a unit, none is linear in these signals (median)."
    assert "40 % is linear" in summary(0.4)


def test_the_axis_of_the_voltage_shows_spikes_and_a_button_what_was_learned() -> None:
    example = small_example()
    example.voltage_mv[20] = 31.0
    figure = trace_figure(example)
    low, high = figure.layout.yaxis2.range
    assert low < -70
    assert high > 31
    whole, below = (button.args[0]["yaxis2.range"] for button in figure.layout.updatemenus[0].buttons)
    assert tuple(whole) == (low, high)
    assert -55 < below[1] < -50
    assert not trace_figure(replace(example, clip_mv=None)).layout.updatemenus


def test_inputs_are_numbered_as_in_the_data() -> None:
    example = replace(small_example(), input_sign=np.array([1, 1, -1, 1, -1, -1, -1]))
    figure = trace_figure(example)
    assert tuple(figure.layout.yaxis4.ticktext) == ("0", "3")
    assert tuple(figure.layout.yaxis5.ticktext) == ("2", "6")
    learned = replace(small_learned(), input_sign=np.array([-1, 1] * 5))
    excitation, inhibition = (
        line for line in weight_profile_figure(learned).data if line.customdata is not None
    )
    total = summed_weights(learned)
    for line, inputs in ((excitation, np.arange(1, 10, 2)), (inhibition, np.arange(0, 10, 2))):
        np.testing.assert_array_equal(line.customdata[:, 0], inputs)
        np.testing.assert_allclose(line.customdata[:, 1], total[inputs])
