"""A fitted neuron as an artificial cell of the NEURON simulator (NMODL)."""

from string import Template

from ulmus.export.c import core
from ulmus.export.constants import described, identifier, surrogate_of_elm
from ulmus.neuron import Surrogate

_FILE = Template(
    """\
TITLE $described

COMMENT
Written by Ulmus. Compile with nrnivmodl, then, in Python:

    cell = h.$name()
    connection = h.NetCon(source, cell)      # source: any cell, or None for events of your own
    connection.weight[0] = 1                 # +1 for an excitatory input, -1 for an inhibitory one
    connection.weight[1] = 17                # number of the input, 0 to $last_input
    output = h.NetCon(cell, target)          # the cell's spikes

Events that arrive within a step of $dt_ms ms act together at its end, where the cell may fire; an event that arrives exactly
there belongs to the next step. A spike is the first peak of a stretch in which the spike probability is above spike_threshold. It
shows one step later, so it is sent $dt_ms ms after the time that Surrogate.predict gives: shorten the delays of outgoing NetCons
by as much.
ENDCOMMENT

NEURON {
    THREADSAFE
    ARTIFICIAL_CELL $name
    RANGE spike_probability, spike_threshold, $voltages
}

PARAMETER {
    spike_threshold = $threshold
}

ASSIGNED {
    spike_probability
$assigned
    fired
    next_step
    space
}

VERBATIM
#include <math.h>
#include <stdlib.h>
#include <string.h>

$core
typedef struct {
    double branches[${upper}_BRANCHES], memory[${upper}_MEMORY];
    /* What arrived in this step, and at the very end of it. */
    double now[${upper}_BRANCHES], then[${upper}_BRANCHES];
    double voltage_mv[${upper}_SITES], before;
    int phase;
} ${name}_cell;

/* A pointer in a variable of the instance, as in NEURON's own vecevent.mod. */
#define ${name}_CELL ((${name}_cell **)(&space))
ENDVERBATIM

CONSTRUCTOR {
VERBATIM
    { *${name}_CELL = NULL; }
ENDVERBATIM
}

DESTRUCTOR {
VERBATIM
    {
        free(*${name}_CELL);
        *${name}_CELL = NULL;
    }
ENDVERBATIM
}

INITIAL {
    rest()
    next_step = t + $dt_ms
    net_send($dt_ms, 1)
}

NET_RECEIVE (value, input) {
    INITIAL {
        : an empty block, without which NEURON would set all weights but the first to zero
    }
    if (flag == 1) {
        next_step = t + $dt_ms
        net_send($dt_ms, 1)
        advance()
        if (fired > 0) {
            net_event(t)
        }
    } else {
        receive(value, input, t)
    }
}

PROCEDURE rest() {
VERBATIM
    if (*${name}_CELL == NULL) *${name}_CELL = (${name}_cell *)malloc(sizeof(${name}_cell));
    if (*${name}_CELL == NULL) hoc_execerror("$name: out of memory", 0);
    memset(*${name}_CELL, 0, sizeof(${name}_cell));
ENDVERBATIM
    spike_probability = 0
    fired = 0
$rest
}

PROCEDURE receive(value, input, time) {
VERBATIM
    {
        ${name}_cell *cell = *${name}_CELL;
        int number = (int)_linput;
        if (number < 0 || number >= ${upper}_INPUTS || number != _linput)
            hoc_execerror("$name: weight[1] of a NetCon is not the number of an input, 0 to $last_input", 0);
        ${name}_receive(_ltime < next_step - 1e-9 ? cell->now : cell->then, number, _lvalue);
    }
ENDVERBATIM
}

PROCEDURE advance() {
VERBATIM
    {
        ${name}_cell *cell = *${name}_CELL;
        double probability;
        int to;
        ${name}_decay(cell->branches);
        for (to = 0; to < ${upper}_BRANCHES; ++to) cell->branches[to] += cell->now[to];
        memcpy(cell->now, cell->then, sizeof cell->now);
        memset(cell->then, 0, sizeof cell->then);
        ${name}_advance(cell->branches, cell->memory, &probability, cell->voltage_mv);
        spike_probability = probability;
        fired = ${name}_detect(&cell->before, &cell->phase, probability, spike_threshold);
$advance
    }
ENDVERBATIM
}

FUNCTION memory_unit(unit) {
VERBATIM
    {
        int number = (int)_lunit;
        if (number < 0 || number >= ${upper}_MEMORY) hoc_execerror("$name: no such memory unit", 0);
        _lmemory_unit = (*${name}_CELL)->memory[number];
    }
ENDVERBATIM
}
"""
)


def nmodl_source(model: Surrogate, name: str) -> str:
    """The mechanism's text.

    Raises:
        ConfigError: the model is not a surrogate of an ELM.
    """
    surrogate, name = surrogate_of_elm(model, "a mechanism of NEURON"), identifier(name)
    voltages = [f"{identifier(site)}_mV" for site in surrogate.sites]
    return _FILE.substitute(
        name=name, upper=name.upper(), described=described(surrogate, name), last_input=surrogate.neuron.inputs - 1,
        dt_ms=repr(surrogate.neuron.dt_ms), voltages=", ".join(voltages), threshold=repr(surrogate.spike_threshold),
        assigned="\n".join(f"    {voltage}" for voltage in voltages), core=core(surrogate, name),
        rest="\n".join(f"    {voltage} = {surrogate.units.offset_mv!r}" for voltage in voltages),
        advance="\n".join(f"        {voltage} = cell->voltage_mv[{k}];" for k, voltage in enumerate(voltages)),
    )  # fmt: skip
