"""A fitted neuron as one self-contained file of C99, which is C++ too."""

from collections.abc import Iterable
from string import Template

import numpy as np

from ulmus.export.constants import (
    NeuronConstants,
    constants_of,
    continuous_inputs,
    described,
    identifier,
    surrogate_of_elm,
)
from ulmus.neuron import Surrogate

ACTIVATIONS = {
    "relu": "x > 0 ? x : 0",
    "silu": "x / (1 + exp(-x))",
    "squared_relu": "x > 0 ? x * x : 0",
}
_PER_LINE = 10

_FILE = Template(
    """\
/* $described. Written by Ulmus.

   ${name}_state state;
   ${name}_reset(&state);
   for each step of $dt_ms ms:
       int spike = ${name}_step(&state, events, input, value, &spike_probability, voltage_mv);

   Links with -lm. Everything is computed in double precision; the state is copied like any other value.
*/
$open
#include <math.h>
#include <string.h>

$core
$declarations
/* Back to rest. */
$static void ${name}_reset(${name}_state *state) {
    memset(state, 0, sizeof *state);
}

/* One step: `events` input events, each the number of an input (0 to $last_input) and its value (+1 for a spike of an excitatory
   input, -1 for an inhibitory one).$continuous Gives the probability of an output spike in this step and the voltage of
   $sites in mV.
   Returns 1 where a spike shows (the step before was the first peak of a stretch above the threshold; the spike's time is the
   beginning of this step), otherwise 0; or -1, having computed nothing, where an input is out of range or a value not finite. */
$static int ${name}_step(${name}_state *state, int events, const int *input, const double *value,
        double *probability, double *voltage_mv) {
    int event;
    double logit = 0;
    for (event = 0; event < events; ++event)
        if (input[event] < 0 || input[event] >= ${upper}_INPUTS || !isfinite(value[event])) return -1;
    ${name}_decay(state->branches);
    for (event = 0; event < events; ++event) ${name}_receive(state->branches, input[event], value[event]);
    ${name}_advance(state->branches, state->memory, &logit, voltage_mv);
    *probability = 1 / (1 + exp(-logit));
    return ${name}_detect(&state->before, &state->phase, logit, ${upper}_THRESHOLD);
}
$close"""
)

_CORE = Template(
    """\
enum { ${upper}_INPUTS = $inputs, ${upper}_BRANCHES = $branches, ${upper}_MEMORY = $memory, ${upper}_SITES = $sites_count };

/* The neuron fires where the probability rises above this. */
#define ${upper}_THRESHOLD $threshold

$arrays

/* Synaptic traces one step on. */
static void ${name}_decay(double *branches) {
    int to;
    for (to = 0; to < ${upper}_BRANCHES; ++to) branches[to] *= ${name}_branch_decay[to];
}

/* An input event: its weight on every branch that it reaches. */
static void ${name}_receive(double *branches, int input, double value) {
    int synapse;
    for (synapse = ${name}_first_synapse[input]; synapse < ${name}_first_synapse[input + 1]; ++synapse)
        branches[${name}_branch[synapse]] += ${name}_weight[synapse] * value;
}

$activation/* Whether the step before was the first peak of a stretch above the threshold, a probability: a peak shows one step
   later. Logits are compared, as rounding of a probability near 1 would flatten peaks. The phase is 0 below the threshold, 1
   while the logit rises above it, 2 after the spike. */
static int ${name}_detect(double *before, int *phase, double logit, double threshold) {
    double limit = threshold <= 0 ? -HUGE_VAL : threshold >= 1 ? HUGE_VAL : log(threshold) - log1p(-threshold);
    int spike = *phase == 1 && logit < *before;
    if (spike) *phase = 2;
    if (!(logit > limit)) *phase = 0;
    else if (*phase == 0) *phase = 1;
    *before = logit;
    return spike;
}

/* Memory one step on, then what is read out of it. */
static void ${name}_advance(const double *branches, double *memory, double *logit, double *voltage_mv) {
    int to, from;
    double sum, seen[${upper}_BRANCHES + ${upper}_MEMORY]$layer_arrays;
    for (from = 0; from < ${upper}_BRANCHES; ++from) seen[from] = branches[from];
    for (from = 0; from < ${upper}_MEMORY; ++from) {
        memory[from] *= ${name}_memory_decay[from];
        seen[${upper}_BRANCHES + from] = memory[from];
    }
$layers
    for (to = 0; to < ${upper}_MEMORY; ++to)
        memory[to] += ${name}_memory_gain[to] * 1.7159 * tanh(2.0 / 3.0 * layer$last[to]);
    for (to = 0; to < 1 + ${upper}_SITES; ++to) {
        sum = ${name}_readout_bias[to];
        for (from = 0; from < ${upper}_MEMORY; ++from) sum += ${name}_readout[to][from] * memory[from];
$hidden_readout        if (to == 0) *logit = sum;
        else voltage_mv[to - 1] = sum / $scale_per_mv + $offset_mv;
    }
}
"""
)

_LAYER = Template(
    """\
    for (to = 0; to < $width; ++to) {
        sum = ${name}_bias$number[to];
        for (from = 0; from < $before; ++from) sum += ${name}_layer$number[to][from] * $source[from];
        layer$number[to] = $value;
    }"""
)


def c_source(model: Surrogate, name: str, *, header: bool = False) -> str:
    """The file's text.

    Args:
        model: A surrogate of an ELM.
        name: What functions and types begin with.
        header: Whether the functions are static, for a file that is included.

    Raises:
        ConfigError: the model is not a surrogate of an ELM, or its threshold is no probability.
    """
    surrogate, name = surrogate_of_elm(model, "C"), identifier(name)
    upper = name.upper()
    return _FILE.substitute(
        name=name, upper=upper, described=described(surrogate, name).replace("*/", "* /"),
        dt_ms=f"{surrogate.neuron.dt_ms:g}", last_input=surrogate.neuron.inputs - 1,
        sites=(", ".join(surrogate.sites) or "no site").replace("*/", "* /"),
        continuous=f" {continuous_inputs(surrogate)}".rstrip().replace("*/", "* /"),
        core=core(surrogate, name), static="static" if header else "",
        declarations=f"typedef struct {{\n    double branches[{upper}_BRANCHES], memory[{upper}_MEMORY], before;\n"
        f"    int phase;\n}} {name}_state;\n",
        open=f"#ifndef {upper}_H\n#define {upper}_H" if header else "", close="#endif\n" if header else "",
    ).replace("\n void", "\nvoid").replace("\n int ", "\nint ")  # fmt: skip


def core(surrogate: Surrogate, name: str) -> str:
    """Constants and functions on arrays of branches and memory, which other formats of C use as well."""
    values = constants_of(surrogate)
    return _CORE.substitute(
        name=name, upper=name.upper(), inputs=values.inputs, branches=len(values.branch_decay),
        memory=len(values.memory_decay), sites_count=len(surrogate.sites), threshold=repr(surrogate.spike_threshold),
        arrays="\n".join(_arrays(values, name)), activation=_activation(values, name),
        layer_arrays="".join(f", layer{number}[{len(bias)}]" for number, (_, bias) in enumerate(values.layers)),
        layers="\n".join(_layers(values, name)), last=len(values.layers) - 1,
        hidden_readout=_hidden_readout(values, name), scale_per_mv=repr(surrogate.units.scale_per_mv),
        offset_mv=repr(surrogate.units.offset_mv),
    )  # fmt: skip


def _activation(values: NeuronConstants, name: str) -> str:
    if len(values.layers) == 1:
        return ""
    return (
        f"static double {name}_activation(double x) {{\n    return {ACTIVATIONS[values.activation]};\n}}\n\n"
    )


def _layers(values: NeuronConstants, name: str) -> Iterable[str]:
    for number, (weight, bias) in enumerate(values.layers):
        last = number == len(values.layers) - 1
        yield _LAYER.substitute(
            name=name,
            number=number,
            width=len(bias),
            before=weight.shape[1],
            source="seen" if number == 0 else f"layer{number - 1}",
            value="sum" if last else f"{name}_activation(sum)",
        )


def _hidden_readout(values: NeuronConstants, name: str) -> str:
    if not values.hidden_readout:
        return ""
    hidden = len(values.layers) - 2
    width, memory = len(values.layers[hidden][1]), len(values.memory_decay)
    return f"        for (from = 0; from < {width}; ++from) sum += {name}_readout[to][{memory} + from] * layer{hidden}[from];\n"


def _arrays(values: NeuronConstants, name: str) -> Iterable[str]:
    yield _array("int", f"{name}_first_synapse", values.first_synapse)
    yield _array("int", f"{name}_branch", values.branch)
    for what in ("weight", "branch_decay", "memory_decay", "memory_gain"):
        yield _array("double", f"{name}_{what}", getattr(values, what))
    for number, (weight, bias) in enumerate(values.layers):
        yield _array("double", f"{name}_layer{number}", weight)
        yield _array("double", f"{name}_bias{number}", bias)
    yield _array("double", f"{name}_readout", values.readout[0])
    yield _array("double", f"{name}_readout_bias", values.readout[1])


def _array(kind: str, name: str, values: np.ndarray) -> str:
    sizes = "".join(f"[{max(1, size)}]" for size in values.shape)
    return f"static const {kind} {name}{sizes} = {_braced(values if values.size else np.zeros(1, values.dtype))};"


def _braced(values: np.ndarray) -> str:
    if values.ndim == 2:
        return "{\n" + ",\n".join(_braced(row) for row in values) + "}"
    # The shortest text that is read back as the same number.
    texts = [repr(value) for value in values.tolist()]
    lines = [", ".join(texts[start : start + _PER_LINE]) for start in range(0, len(texts), _PER_LINE)]
    return "{" + ",\n ".join(lines) + "}"
