# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Random ListOps expressions, written and evaluated in one pass."""

import numpy as np
from numba import njit

from ulmus.errors import ConfigError
from ulmus.sequences.making import interrupts_wait

OPERATORS = ("MIN", "MAX", "MED", "SM")
MIN, MAX, MEDIAN, SUM = range(4)
_NAMES = [f"[{name} " for name in OPERATORS]
_NAME_AT = np.cumsum([0, *map(len, _NAMES)])
_NAME_BYTES = np.frombuffer("".join(_NAMES).encode(), dtype=np.uint8)
_OPEN, _CLOSE, _END = (np.frombuffer(text, dtype=np.uint8) for text in (b"( ", b" )", b" ] )"))
_OPERATOR_SHARE = 0.25
_BYTES_PER_TOKEN = 12
_MOST_TRIES = 1_000_000  # some seconds


@njit(cache=True)
def _write(text, at, what):
    for byte in what:
        text[at] = byte
        at += 1
    return at


@njit(cache=True)
def _result(operator, arguments):
    if operator == MIN:
        return arguments.min()
    if operator == MAX:
        return arguments.max()
    if operator == SUM:
        return arguments.sum() % 10
    ordered, count = np.sort(arguments), len(arguments)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) // 2


@njit(cache=True)
def _expression(random, text, longest, depth_limit, most_arguments, operators):
    """Write one expression; its tokens, value and bytes. Tokens beyond `longest` mean that it was given up."""
    operator = np.empty(depth_limit, np.int64)
    wanted, count = np.empty_like(operator), np.empty_like(operator)
    value = np.empty((depth_limit, most_arguments), np.int64)
    tokens, at, depth = 0, 0, 0
    while tokens <= longest:
        below_limit = depth < depth_limit - 1  # the deepest level holds digits alone
        if below_limit and random.random() < _OPERATOR_SHARE:
            operator[depth], count[depth] = operators[random.integers(0, len(operators))], 0
            wanted[depth] = random.integers(2, most_arguments + 1)
            for _ in range(wanted[depth] + 1):
                at = _write(text, at, _OPEN)
            first, stop = _NAME_AT[operator[depth]], _NAME_AT[operator[depth] + 1]
            at = _write(text, at, _NAME_BYTES[first:stop])
            tokens += 2  # it is closed again
            depth += 1
            continue
        digit = random.integers(0, 10)
        text[at] = ord("0") + digit
        at += 1
        tokens += 1
        while depth:  # an argument is complete; and with it, perhaps, the expressions around it
            level = depth - 1
            value[level, count[level]] = digit
            count[level] += 1
            at = _write(text, at, _CLOSE)
            if count[level] < wanted[level]:
                text[at] = ord(" ")
                at += 1
                break
            at = _write(text, at, _END)
            digit = _result(operator[level], value[level, : count[level]])
            depth -= 1
        if depth == 0:
            return tokens, digit, at
    return tokens, -1, at


@njit(cache=True)
def _accepted(random, text, shortest, longest, depth_limit, most_arguments, operators):
    for _ in range(_MOST_TRIES):
        tokens, value, size = _expression(random, text, longest, depth_limit, most_arguments, operators)
        if shortest <= tokens <= longest:
            return tokens, value, size
    return 0, -1, 0


def draw_expression(
    seed: int,
    index: int,
    shortest: int,
    longest: int,
    depth_limit: int,
    most_arguments: int,
    operators: tuple[str, ...] = OPERATORS,
) -> tuple[bytes, int, int]:
    """Expression number `index`: its text, value and number of tokens.

    Operators, of `operators` all equally often, take the place of a digit with probability 1/4, the outermost included;
    what is shorter than `shortest` or longer than `longest` is drawn again. Source: Nangia and Bowman 2018; Tay et al. 2021.

    Raises:
        ConfigError: a million expressions were all shorter or longer.
    """
    random = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    text = np.empty(_BYTES_PER_TOKEN * (longest + most_arguments + 4), dtype=np.uint8)
    numbers = np.array([OPERATORS.index(name) for name in operators])
    with interrupts_wait():
        tokens, value, size = _accepted(random, text, shortest, longest, depth_limit, most_arguments, numbers)
    if not tokens:
        raise ConfigError(
            f"of a million expressions of at most {most_arguments} arguments and {depth_limit} levels none has {shortest} to "
            f"{longest} tokens; expected some; allow shorter or longer ones, or more arguments"
        )
    return text[:size].tobytes(), int(value), int(tokens)
