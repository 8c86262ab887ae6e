"""A fitted neuron as an artificial cell of the NEURON simulator (NMODL)."""

import re
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from ulmus.errors import ConfigError
from ulmus.export.c import core
from ulmus.export.constants import continuous_inputs, described, identifier, surrogate_of_elm
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
$continuous
SaveState and BBSaveState of NEURON do not keep the state of this cell: run from the start instead.
ENDCOMMENT

NEURON {
    THREADSAFE
    ARTIFICIAL_CELL $name
    RANGE $ranges
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
    double voltage_mv[${upper}_SITES + 1], before;
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
        if (!isfinite(_lvalue)) hoc_execerror("$name: weight[0] of a NetCon is not finite", 0);
        ${name}_receive(_ltime < next_step - 1e-9 ? cell->now : cell->then, number, _lvalue);
    }
ENDVERBATIM
}

PROCEDURE advance() {
VERBATIM
    {
        ${name}_cell *cell = *${name}_CELL;
        double logit = 0;
        int to;
        ${name}_decay(cell->branches);
        for (to = 0; to < ${upper}_BRANCHES; ++to) cell->branches[to] += cell->now[to];
        memcpy(cell->now, cell->then, sizeof cell->now);
        memset(cell->then, 0, sizeof cell->then);
        ${name}_advance(cell->branches, cell->memory, &logit, cell->voltage_mv);
        spike_probability = 1 / (1 + exp(-logit));
        fired = ${name}_detect(&cell->before, &cell->phase, logit, spike_threshold);
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
        ConfigError: the model is not a surrogate of an ELM, its threshold is no probability, or NEURON cannot take a name.
    """
    surrogate = surrogate_of_elm(model, "a mechanism of NEURON")
    voltages = _voltages(surrogate.sites)
    name = _mechanism(name, voltages)
    return _FILE.substitute(
        name=name, upper=name.upper(), described=_quoted(described(surrogate, name)), last_input=surrogate.neuron.inputs - 1,
        dt_ms=repr(surrogate.neuron.dt_ms), ranges=", ".join(["spike_probability", "spike_threshold", *voltages]),
        threshold=repr(surrogate.spike_threshold), continuous=_quoted(continuous_inputs(surrogate)),
        assigned="\n".join(f"    {voltage}" for voltage in voltages), core=core(surrogate, name),
        rest="\n".join(f"    {voltage} = {surrogate.units.offset_mv!r}" for voltage in voltages),
        advance="\n".join(f"        {voltage} = cell->voltage_mv[{k}];" for k, voltage in enumerate(voltages)),
    )  # fmt: skip


def _voltages(sites: Sequence[str]) -> list[str]:
    """Names of the variables that hold voltages, one for each site."""
    found: dict[str, str] = {}
    for site in sites:
        variable = f"{identifier(site)}_mV"
        if variable in found:
            raise ConfigError(
                f"the sites {found[variable]!r} and {site!r} would both be {variable} in NEURON; expected sites that differ in "
                "letters, digits or _. Rename one of them."
            )
        found[variable] = site
    return list(found)


def _mechanism(name: str, voltages: Sequence[str]) -> str:
    """The mechanism's name, from that of the file."""
    if not re.fullmatch(r"\w+", name, flags=re.ASCII):
        raise ConfigError(
            f"{name}.mod becomes part of a name in C++; expected letters, digits and _. Write it as {identifier(name)}.mod."
        )
    mechanism = identifier(name)
    taken = (files("ulmus.export") / "neuron_names.txt").read_text(encoding="utf-8").split()
    if mechanism in taken or mechanism in voltages:
        raise ConfigError(
            f"{name}.mod makes a mechanism {mechanism}, but NEURON or the mechanism itself uses this name already; expected "
            f"one of its own. Give the file another name, such as fitted_{mechanism}.mod."
        )
    return mechanism


def _quoted(text: str) -> str:
    """Text in ASCII without what ends a string of C or a comment of NMODL: NEURON copies the whole file into a string."""
    text = text.replace('"', "'").replace("\\", "/").replace("ENDCOMMENT", "END COMMENT")
    return text.encode("ascii", "replace").decode()
