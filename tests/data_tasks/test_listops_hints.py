"""Hints of ListOps: values of what has been read, by an evaluation of their own."""

import re
import statistics

import pytest

from ulmus.data.tasks.listops import TOKENS, ListOps
from ulmus.data.tasks.listops_hints import hints
from ulmus.data.tasks.listops_writer import make_listops

OPERATORS = {
    "MIN": min,
    "MAX": max,
    "SM": lambda *v: sum(v) % 10,
    "MED": lambda *v: int(statistics.median(v)),
}


def evaluate(text):
    """The value of an expression, by turning it into Python."""
    return eval(
        re.sub(r"\[(\w+)", r"\1(", re.sub(r"(\d|\])", r"\1,", text)).replace("]", ")").rstrip(","), OPERATORS
    )


def test_the_value_so_far_of_what_is_open():
    text = "[SM 7 8 [MED 1 4 [MIN 9 3 ] ] 2 ]"
    told = hints(text.split())
    assert told.tolist() == [0, 8, 6, 0, 2, 3, 0, 10, 4, 4, 4, 1, 1]


@pytest.mark.parametrize("end_token", [False, True])
def test_every_bracket_closes_with_its_value(tmp_path, end_token):
    folder = make_listops(tmp_path, counts=(40, 1, 1), shortest=10, longest=80, workers=1)
    source = ListOps(folder / "basic_train.tsv", end_token)
    for index in range(40):
        symbols = [TOKENS[number] for number in source.read(index)]
        told = source.hints(index)
        assert len(told) == len(symbols)
        opened = []
        for place, symbol in enumerate(symbols):
            if symbol.startswith("["):
                opened.append(place)
                assert told[place] == 0
            elif symbol == "]":
                assert told[place] == 1 + evaluate(" ".join(symbols[opened.pop() : place + 1]))
        last = len(symbols) - 1 - end_token
        assert told[last] == 1 + source.labels[index]
        assert not end_token or told[-1] == 0
