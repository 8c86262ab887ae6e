"""Figures of the fit as a whole: ROC, learning curve, synaptic weights and time constants."""

import numpy as np
from jaxtyping import Float, Int

from ulmus.errors import extra
from ulmus.report import style
from ulmus.report.content import Confusion, Learned, LearningCurve, RocCurve, TimeConstants
from ulmus.report.traces import inputs_of_sign, stretch_axis, stretch_edges

with extra("report", "a report page"):
    import plotly.graph_objects as go

MAX_POINTS = 600
SHORTEST_TAU_MS = 1e-6
_CURVE_HEIGHT = 450
_HIGHEST = {"Validation AUC": 1.0, "Validation accuracy (%)": 100.0}


def roc_figure(roc: RocCurve, *, logarithmic: bool) -> go.Figure:
    """True against false positive rate; a logarithmic axis shows the low rates that rare spikes ask for."""
    x, y = np.asarray(roc.false_positive_rate, dtype=float), np.asarray(roc.true_positive_rate, dtype=float)
    positive = x[x > 0]
    low = float(min(1e-3, positive.min())) if positive.size else 1e-3
    if logarithmic:
        x, y = x[x > 0], y[x > 0]
    kept = _visible(np.log10(x) / np.log10(low) if logarithmic else x, y)
    plot = style.figure(_CURVE_HEIGHT, hovermode="closest")
    chance = np.geomspace(low, 1, 60) if logarithmic else np.array([0.0, 1.0])
    plot.add_scatter(
        x=chance, y=chance, mode="lines", line={"color": style.RULE, "width": 1, "dash": "dot"}, hoverinfo="skip",
        name="chance",
    )  # fmt: skip
    plot.add_scatter(
        x=x[kept], y=y[kept], mode="lines", line={"color": style.SURROGATE, "width": 2}, name="surrogate",
        hovertemplate="FPR %{x:.4g}<br>TPR %{y:.3f}<extra></extra>",
    )  # fmt: skip
    if roc.marks:
        rates = np.array(roc.marks, dtype=float)
        plot.add_scatter(
            x=rates[:, 0], y=rates[:, 1], mode="markers+text",
            marker={"size": 9, "color": style.PAPER, "line": {"color": style.SURROGATE, "width": 2}},
            text=[f"{hit:.3f} at FPR {false:g}" for false, hit in roc.marks], textposition="bottom right",
            textfont={"size": 12, "color": style.NEURON}, hovertemplate="FPR %{x:.4g}<br>TPR %{y:.4f}<extra></extra>",
            name="operating points",
        )  # fmt: skip
    # Where neither the curve nor the diagonal passes.
    corner = {"x": 0.04, "xanchor": "left", "y": 0.96, "yanchor": "top"}
    opposite = {"x": 0.96, "xanchor": "right", "y": 0.05, "yanchor": "bottom"}
    plot.add_annotation(
        text=f"AUC {roc.auc:.4f}", xref="paper", yref="paper", showarrow=False,
        font={"size": 15, "color": style.SURROGATE}, **(corner if logarithmic else opposite),
    )  # fmt: skip
    linear = style.axis("false positive rate", range=[-0.01, 1.01])
    plot.update_layout(
        xaxis=style.logarithmic_axis("false positive rate (logarithmic)", low, 1) if logarithmic else linear,
        yaxis=style.axis("true positive rate", range=[-0.01, 1.03]),
    )
    return plot


def _visible(x: Float[np.ndarray, "points"], y: Float[np.ndarray, "points"]) -> Int[np.ndarray, "kept"]:
    """Indices of points that can be told apart on the page: the first in each cell of a fine grid, and the last."""
    cell = np.round(x * MAX_POINTS) * (MAX_POINTS + 1) + np.round(y * MAX_POINTS)
    first = np.unique(cell, return_index=True)[1]
    return np.unique(np.append(first, len(cell) - 1)) if len(cell) else first


def learning_curve_figure(curve: LearningCurve) -> go.Figure:
    """Training loss and, below it on the same steps, what validation said."""
    plot = style.figure(_CURVE_HEIGHT, hovermode="x unified", hoversubplots="axis")
    step, loss = block_means(curve.step, curve.loss)
    last = int(max(np.max(curve.step, initial=1), np.max(curve.validation_step, initial=1)))
    plot.update_layout(
        xaxis=style.axis(
            "training step",
            anchor=f"y{1 + len(curve.validation)}",
            range=[0, last * 1.01],
            hoverformat=",.0f",
            **style.CROSSHAIR,
        )
    )
    when, dots = curve.validation_step, "lines+markers"
    panels = [("Training loss", step, loss, "lines", style.MUTED)]
    panels += [(f"Validation {name}", when, y, dots, style.SURROGATE) for name, y in curve.validation.items()]
    height = 1 / (len(panels) - 0.25)  # of which three quarters are drawn on
    for number, (title, x, y, mode, colour) in enumerate(panels, start=1):
        bottom = (len(panels) - number) * height
        domain = (bottom, bottom + 0.75 * height)
        plot.add_scatter(
            x=np.asarray(x), y=np.asarray(y, dtype=np.float64), mode=mode, line={"color": colour, "width": 1.4},
            marker={"size": 4.5}, name=title, yaxis=f"y{number}", hovertemplate="%{y:.4f}",
        )  # fmt: skip
        place = style.axis(domain=list(domain), nticks=6)
        if title == "Training loss" and np.size(y) and np.min(y) > 0:
            place = style.logarithmic_axis("", np.min(y) * 0.9, np.max(y) * 1.1, domain=list(domain))
        elif title in _HIGHEST and np.isfinite(y).any():
            place["range"] = _near(np.asarray(y, dtype=float), _HIGHEST[title])
        plot.update_layout({f"yaxis{number}": place})
        plot.add_annotation(style.panel_title(title, 0, domain[1] + 0.008))
        if not np.isfinite(np.asarray(y, dtype=float)).any():
            said = "undefined: no spike to validate on" if "AUC" in title else "not recorded"
            style.note(plot, said, xref="paper", x=0.5, yref="paper", y=sum(domain) / 2)
    if curve.best_step is not None:
        plot.add_shape(
            type="line", xref="x", x0=curve.best_step, x1=curve.best_step, yref="paper", y0=0, y1=1,
            line={"color": style.NEURON, "width": 1, "dash": "dot"}, layer="below",
        )  # fmt: skip
    return plot


def _near(values: Float[np.ndarray, "validations"], highest: float) -> list[float]:
    """Ends of an axis a little around the values, and within 0 and the highest value there can be."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = max(0.1 * (high - low), 0.02 * highest)
    # A hair beyond the bounds, so that a dot on one of them is whole.
    return [max(low - margin, -0.005 * highest), min(high + margin, 1.005 * highest)]


def block_means(
    step: Int[np.ndarray, "steps"], value: Float[np.ndarray, "steps"]
) -> tuple[Float[np.ndarray, "blocks"], Float[np.ndarray, "blocks"]]:
    """Means over at most 600 blocks of successive steps: enough points for the page, and less noise."""
    blocks = min(MAX_POINTS, len(step))
    if blocks == 0:
        return np.zeros(0), np.zeros(0)
    edges = np.linspace(0, len(step), blocks + 1).astype(np.int64)
    size = np.diff(edges)
    return np.add.reduceat(step, edges[:-1]) / size, np.add.reduceat(value, edges[:-1]) / size


def summed_weights(learned: Learned) -> Float[np.ndarray, "inputs"]:
    """Synaptic weight of every input, summed over all synapses that it feeds."""
    weights = np.where(learned.connected, learned.synaptic_weights, 0.0)
    return np.bincount(learned.input_index.ravel(), weights.ravel(), minlength=len(learned.input_sign))


def weight_profile_figure(learned: Learned) -> go.Figure:
    """Summed synaptic weight along the inputs: excitation upwards, inhibition downwards."""
    total = summed_weights(learned)
    plot = style.figure(330, hovermode="x unified")
    largest, longest = 0.0, np.zeros(1, dtype=np.int64)
    for sign, name in ((1, "excitation"), (-1, "inhibition")):
        inputs = inputs_of_sign(learned.input_sign, sign)
        if not inputs.size:
            continue
        weights = total[inputs]
        largest, longest = max(largest, float(weights.max())), max(longest, inputs, key=len)
        position = np.arange(len(weights)) + 0.5
        # A filled staircase: bars this thin would show stripes that are not in the weights.
        plot.add_scatter(
            x=position, y=sign * weights, customdata=np.stack([inputs, weights], axis=1), mode="lines",
            line={"shape": "hvh", "width": 0, "color": style.hue(sign)}, fill="tozeroy", fillcolor=style.pale(sign),
            name=name, hovertemplate="input %{customdata[0]:,.0f}: %{customdata[1]:.3f}",
        )  # fmt: skip
        plot.add_scatter(
            x=position, y=sign * running_mean(weights), mode="lines", line={"color": style.hue(sign), "width": 1.8},
            name=f"{name}, local mean", hoverinfo="skip",
        )  # fmt: skip
    reach = 1.08 * largest or 1.0
    across = style.axis(
        "inputs in order, each sign for itself", range=[0, len(longest)], grid=False, unifiedhovertitle={"text": " "}
    )  # fmt: skip
    # Numbers of both signs would not fit one axis, so without names only the pointer tells them.
    across |= stretch_axis(learned.stretches, longest) if learned.stretches else {"showticklabels": False}
    plot.update_layout(
        xaxis=across,
        yaxis=style.axis("summed weight", range=[-reach, reach], zeroline=True, zerolinecolor=style.RULE),
    )
    for edge in stretch_edges(learned.stretches, len(longest)):
        plot.add_vline(x=edge, line={"color": style.MUTED, "width": 0.8, "dash": "dot"})
    return plot


def running_mean(values: Float[np.ndarray, "positions"], width: int = 21) -> Float[np.ndarray, "positions"]:
    """Mean over ``width`` neighbours, over fewer at the ends."""
    ones = np.ones(min(width, len(values)))
    share = np.convolve(np.ones(len(values)), ones, mode="same")
    mean: Float[np.ndarray, "positions"] = np.convolve(values, ones, mode="same") / share
    return mean


def branch_weights_figure(learned: Learned) -> go.Figure:
    """Weight of every synapse of every branch; excitatory synapses on the left, inhibitory ones on the right."""
    sign_of = np.sign(learned.input_sign)[learned.input_index]
    present = [sign for sign in (1, -1) if np.any((sign_of == sign) & learned.connected)]
    branches = learned.synaptic_weights.shape[0]
    plot = style.figure(min(640, max(260, 110 + 7 * branches)), hovermode="closest")
    connected = np.asarray(learned.connected, dtype=bool)
    ceiling = float(np.quantile(learned.synaptic_weights[connected], 0.995)) if connected.any() else 1.0
    gap = 0.04
    width = (1 - gap * (len(present) - 1)) / max(1, len(present))
    for number, sign in enumerate(present, start=1):
        left = (number - 1) * (width + gap)
        weights, inputs = rows_of_sign(learned, sign)
        kind = "excitatory" if sign > 0 else "inhibitory"
        plot.add_heatmap(
            z=weights.astype(np.float32), customdata=inputs, x0=1, dx=1, y0=1, dy=1, xaxis=f"x{number}",
            colorscale=style.scale(sign), zmin=0, zmax=ceiling or 1.0, xgap=0.4, ygap=0.4, showscale=False,
            hoverongaps=False, name=kind,
            hovertemplate=f"branch %{{y}}, {kind} input %{{customdata}}<br>weight %{{z:.3f}}<extra></extra>",
        )  # fmt: skip
        title = f"synapse of the branch, {kind}"
        plot.update_layout(
            {
                f"xaxis{number}": style.axis(title, domain=[left, left + width], grid=False, anchor="y"),
                "yaxis": style.axis("branch", autorange="reversed", grid=False, nticks=8),
            }
        )
        heading = (
            f"<span style='color:{style.hue(sign)}'>{kind.capitalize()}</span>, 0 to {ceiling:.2g} or more"
        )
        plot.add_annotation(style.panel_title(heading, left, 1.006))
    # Cells without a synapse show the ground behind the heatmap.
    plot.update_layout(plot_bgcolor=style.GRID)
    return plot


def rows_of_sign(
    learned: Learned, sign: int
) -> tuple[Float[np.ndarray, "branches synapses"], Int[np.ndarray, "branches synapses"]]:
    """Weights and input numbers of the connected synapses of one sign, packed to the left of every branch; NaN behind."""
    chosen = (np.sign(learned.input_sign)[learned.input_index] == sign) & learned.connected
    length = int(chosen.sum(axis=1).max(initial=0))
    # A stable sort brings the chosen synapses to the front and keeps their order.
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :length]
    weights = np.take_along_axis(np.where(chosen, learned.synaptic_weights, np.nan), order, axis=1)
    return weights, np.take_along_axis(learned.input_index, order, axis=1)


def time_constants_figure(tau: TimeConstants) -> go.Figure:
    """Memory time constants in ascending order on a logarithmic axis, with the synaptic ones marked."""
    # Bounds may let a time constant reach zero, which a logarithmic axis cannot show.
    tau_ms = np.sort(np.maximum(np.asarray(tau.memory_ms, dtype=float), SHORTEST_TAU_MS))
    synapse_ms = np.unique(np.round(np.asarray(tau.synapse_ms, dtype=float), 6))
    plot = style.figure(min(520, max(260, 120 + 9 * len(tau_ms))), hovermode="closest")
    rank = np.arange(1, len(tau_ms) + 1)
    everything = np.concatenate([tau_ms, synapse_ms])
    low, high = 0.75 * float(everything.min()), 1.33 * float(everything.max())
    stems = tau_ms if len(tau_ms) <= 40 else tau_ms[:0]  # more would only darken the figure
    plot.add_scatter(
        x=np.stack([np.full(len(stems), low), stems, np.full(len(stems), np.nan)], axis=1).ravel(),
        y=np.repeat(rank[: len(stems)], 3).astype(float), mode="lines", line={"color": style.RULE, "width": 1},
        hoverinfo="skip",
    )  # fmt: skip
    plot.add_scatter(
        x=tau_ms, y=rank, mode="markers", marker={"size": 8 if len(tau_ms) <= 40 else 5, "color": style.SURROGATE},
        name="memory units",
        hovertemplate="memory unit %{y} of " + f"{len(tau_ms)}<br>time constant %{{x:.4g}} ms<extra></extra>",
    )  # fmt: skip
    for value in synapse_ms[:: max(1, len(synapse_ms) // 50)]:
        plot.add_vline(x=float(value), line={"color": style.NEURON, "width": 1.2, "dash": "dot"})
    several = len(synapse_ms) > 1
    text = f"synapses {synapse_ms[0]:.3g}" + (f" to {synapse_ms[-1]:.3g} ms" if several else " ms")
    at = float(np.log10(synapse_ms[-1]))
    style.note(plot, text, x=at, xref="x", xanchor="left", y=1, yref="paper", yanchor="bottom")
    plot.update_layout(
        xaxis=style.logarithmic_axis("time constant (ms, logarithmic)", low, high),
        yaxis=style.axis(
            "memory unit, by time constant",
            range=[0.3, len(tau_ms) + 0.7],
            grid=False,
            nticks=6,
            tickformat="d",
        ),
    )
    return plot


def confusion_figure(confusion: Confusion) -> go.Figure:
    """Share of the sequences of every class (rows) that were taken for each class (columns); few classes with numbers."""
    counts = np.asarray(confusion.counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = len(confusion.classes)
    plot = style.figure(min(680, max(_CURVE_HEIGHT, 120 + 26 * classes)), hovermode="closest")
    legible = classes <= 20
    names = confusion.classes
    told = [
        [(int(n), names[row], names[column]) for column, n in enumerate(line)]
        for row, line in enumerate(counts)
    ]
    plot.add_heatmap(
        z=share.astype(np.float32), customdata=told,
        text=[[f"{value:.2f}" if value else "" for value in row] for row in share] if legible else None,
        texttemplate="%{text}" if legible else None, zmin=0, zmax=1,
        colorscale=[[0.0, style.PAPER], [1.0, style.SURROGATE]], showscale=False, xgap=1, ygap=1,
        hovertemplate="%{customdata[0]}, %{z:.1%} of class %{customdata[1]} taken for %{customdata[2]}<extra></extra>",
    )  # fmt: skip
    # Places rather than names on the axes, since names such as 10 and 9 would be taken for numbers.
    ticks = {"tickvals": list(range(classes)), "ticktext": list(names)} if legible else {}
    plot.update_layout(
        xaxis=style.axis("taken for", grid=False, **ticks),
        yaxis=style.axis("class", grid=False, autorange="reversed", **ticks),
    )
    return plot
