import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import OneHot
from ulmus.sequences.lra.listops.expressions import draw_expression
from ulmus.sequences.lra.listops.files import FILES, TOKENS, ListOps, listops_splits, tokenize
from ulmus.sequences.lra.listops.writer import make_listops

PUBLISHED = (501, 1999, 10, 10)
OPERATIONS = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}


def evaluate(symbols):
    """Value and depth of an expression without parentheses, and the operators' numbers of arguments."""
    first = symbols.pop(0)
    if first not in OPERATIONS:
        return int(first), 1, []
    values, depths, counts = [], [], []
    while symbols[0] != "]":
        value, depth, inner = evaluate(symbols)
        values.append(value)
        depths.append(depth)
        counts += inner
    symbols.pop(0)
    return OPERATIONS[first](values), 1 + max(depths), [*counts, len(values)]


def parenthesised(symbols):
    """The binary tree that the published text spells out, built from the symbols alone."""
    first = symbols.pop(0)
    if first not in OPERATIONS:
        return first
    text = first
    while symbols[0] != "]":
        text = f"( {text} {parenthesised(symbols)} )"
    symbols.pop(0)
    return f"( {text} ] )"


@pytest.mark.parametrize("index", range(60))
def test_expression_has_the_value_and_the_form_it_claims(index):
    text, value, tokens = draw_expression(3, index, *PUBLISHED)
    symbols = text.decode().replace("(", " ").replace(")", " ").split()
    found, depth, counts = evaluate(list(symbols))
    assert found == value
    assert len(symbols) == tokens
    assert 500 < tokens < 2000
    assert depth <= 10
    assert min(counts) >= 2
    assert max(counts) <= 10
    assert parenthesised(list(symbols)).encode() == text


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(3, 40), st.integers(2, 6), st.integers(2, 10))
def test_short_expressions_keep_to_their_limits(seed, longest, depth, most):
    text, value, tokens = draw_expression(seed, 1, 3, longest + 3, depth, most)
    found, levels, counts = evaluate(text.decode().replace("(", " ").replace(")", " ").split())
    assert (found, levels <= depth, max(counts) <= most) == (value, True, True)
    assert 3 <= tokens <= longest + 3


def test_operators_and_digits_are_drawn_evenly():
    counts = np.zeros(len(TOKENS), int)
    for index in range(300):
        counts += np.bincount(tokenize(draw_expression(1, index, *PUBLISHED)[0]), minlength=len(TOKENS))
    for part in (counts[2:6], counts[7:]):
        assert np.abs(part / part.sum() - 1 / len(part)).max() < 0.01
    assert counts[6] == counts[2:6].sum()  # every operator is closed


def test_files_are_the_same_for_any_number_of_workers_and_all_different(tmp_path):
    one = make_listops(tmp_path / "one", counts=(900, 60, 40), seed=5, workers=1)
    two = make_listops(tmp_path / "two", counts=(900, 60, 40), seed=5, workers=2)
    other = make_listops(tmp_path / "other", counts=(900, 60, 40), seed=6, workers=1)
    names = [f"basic_{split}.tsv" for split in ("train", "val", "test")]
    assert [(one / name).read_bytes() for name in names] == [(two / name).read_bytes() for name in names]
    lines = [line for name in names for line in (one / name).read_text().splitlines()[1:]]
    assert len(set(lines)) == 1000
    assert not set(lines) & set((other / names[0]).read_text().splitlines()[1:])


def test_duplicates_are_left_out(tmp_path):
    folder = make_listops(tmp_path, counts=(300, 20, 20), shortest=4, longest=8, workers=1)
    sources = [
        line.split("\t")[0]
        for name in ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
        for line in (folder / name).read_text().splitlines()[1:]
    ]
    assert len(set(sources)) == len(sources) == 340
    with pytest.raises(ConfigError, match="different expressions"):
        make_listops(tmp_path / "few", counts=(90_000, 1, 1), shortest=1, longest=4, workers=1)


def test_lessons_can_have_few_operators_and_repeat_what_is_short(tmp_path):
    chosen = {"shortest": 4, "longest": 8, "most_arguments": 2, "operators": ["SM"], "repeats": True}
    folder = make_listops(tmp_path, counts=(3000, 20, 20), workers=1, **chosen)
    rows = [line.split("\t") for line in (folder / "basic_train.tsv").read_text().splitlines()[1:]]
    symbols = [source.replace("(", " ").replace(")", " ").split() for source, _ in rows]
    assert all(evaluate(list(row))[0] == int(value) for row, (_, value) in zip(symbols, rows, strict=True))
    assert {symbol for row in symbols for symbol in row if symbol.startswith("[")} == {"[SM"}
    # Of two arguments both are digits with probability 9/16, one is such an expression with 2 * (3/4 * 1/4) * 9/16.
    pairs = [" ".join(row) for row in symbols if len(row) == 4]
    assert abs(len(pairs) / len(rows) - 1 / (1 + 3 / 8)) < 0.03
    assert len(set(pairs)) == 100
    with pytest.raises(
        ConfigError, match=r"begun with other settings: operators: asked for default, present \['SM'\]"
    ):
        make_listops(
            tmp_path, counts=(3000, 20, 20), workers=1, **{**chosen, "operators": ["MIN", "MAX", "MED", "SM"]}
        )


def test_a_folder_with_repeats_is_another_one_than_without_and_the_order_of_operators_does_not_matter(
    tmp_path,
):
    few = {"counts": (20, 5, 5), "shortest": 4, "longest": 8, "workers": 1}
    folder = make_listops(tmp_path, operators=["SM", "MIN"], repeats=True, **few)
    assert make_listops(tmp_path, operators=["MIN", "SM"], repeats=True, **few) == folder
    with pytest.raises(ConfigError, match="repeats: asked for default, present True"):
        make_listops(tmp_path, operators=["MIN", "SM"], **few)


def test_lengths_that_no_expression_has_are_refused():
    with pytest.raises(ConfigError, match="of at most 2 arguments and 2 levels none has 5 to 60 tokens"):
        draw_expression(0, 0, 5, 60, 2, 2)


@pytest.mark.parametrize("operators", [[], ["SM", "SM"], ["SUM"]])
def test_operators_that_do_not_exist_are_refused(tmp_path, operators):
    with pytest.raises(ConfigError, match="expected some of MIN, MAX, MED, SM, each once"):
        make_listops(tmp_path, counts=(5, 5, 5), operators=operators)


def test_reading_gives_the_symbols_and_values(tmp_path):
    make_listops(tmp_path / "lra_release" / "lra_release", counts=(20, 5, 5), workers=1)
    splits = listops_splits(tmp_path, end_token=True)
    assert [len(part) for part in splits] == [20, 5, 5]
    assert splits.train.name == "ListOps, generated"
    batch = SequenceBatches(splits.test, OneHot(len(TOKENS)), 3).batch(0, 0)
    for row, length, label in zip(batch.inputs.dense(), batch.lengths, batch.labels, strict=True):
        assert not row[length:].any()
        symbols = [TOKENS[number] for number in row[:length].argmax(dim=1)]
        assert symbols[length - 1] == "<end>"
        assert evaluate(symbols[: length - 1])[0] == label


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_published_line_endings(tmp_path, ending):
    file = tmp_path / "basic_train.tsv"
    file.write_bytes(ending.join(["Source\tTarget", "( ( ( [MAX 4 ) 3 ) ] )\t4", "7\t7"]).encode())
    data = ListOps(file)
    assert data.name == "ListOps"
    assert [TOKENS[number] for number in data[0][0]] == ["[MAX", "4", "3", "]"]
    assert data.labels.tolist() == [4, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "begins with b'nothing'"),
        ("label\ttext\n", "begins with"),
        ("Source\tTarget\n( 1 )\n", "line 2"),
        ("Source\tTarget\n1\t1\n1\t12\n", "line 3"),
    ],
)
def test_damaged_tables_are_named(tmp_path, content, message):
    file = tmp_path / "basic_train.tsv"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        ListOps(file)


def test_unknown_symbols_missing_files_and_archives_are_named(tmp_path):
    file = tmp_path / "basic_train.tsv"
    file.write_text("Source\tTarget\n( ( [LAST 1 ) ] )\t1\n")
    with pytest.raises(DataError, match=r"basic_train.tsv, line 2: symbol b'\[LAST'"):
        ListOps(file)[0]
    with pytest.raises(DataError, match="does not exist"):
        ListOps(tmp_path / "basic_val.tsv")
    with pytest.raises(DataError, match="no folder 'listops-1000'"):
        listops_splits(tmp_path)
    with pytest.raises(DataError, match="is a file"):
        listops_splits(file)


def test_other_settings_and_foreign_files_are_refused(tmp_path):
    make_listops(tmp_path, counts=(5, 5, 5), workers=1)
    with pytest.raises(ConfigError, match="seed: asked for 1, present 0"):
        make_listops(tmp_path, counts=(5, 5, 5), seed=1, workers=1)
    published = tmp_path / "published"
    (published / "listops-1000").mkdir(parents=True)
    (published / "listops-1000" / "basic_train.tsv").write_text("Source\tTarget\n")
    with pytest.raises(DataError, match="may be from elsewhere"):
        make_listops(published, counts=(5, 5, 5), workers=1)
    with pytest.raises(ConfigError, match="test=0"):
        make_listops(tmp_path / "new", counts=(5, 5, 0))


def test_files_damaged_after_they_were_made_are_named_with_the_cure(tmp_path):
    folder = make_listops(tmp_path, counts=(5, 5, 5), workers=1)
    file = folder / "basic_val.tsv"
    whole = file.read_bytes()
    for damaged in (whole[: whole.rindex(b"\n", 0, -1) + 1], b"\0" * len(whole)):
        file.write_bytes(damaged)
        with pytest.raises(
            DataError, match=r"basic_val.tsv .*delete the file and run `ulmus data make listops`"
        ):
            make_listops(tmp_path, counts=(5, 5, 5), workers=1)
    file.unlink()
    make_listops(tmp_path, counts=(5, 5, 5), workers=1)
    assert file.read_bytes() == whole


def test_writers_beside_each_other_do_not_touch_each_others_files(tmp_path):
    """A second writer dies just after it began, while the first is at work."""
    settings = {"counts": (600, 5, 5), "shortest": 5, "longest": 60, "workers": 1}

    def second_dies(*_: int) -> None:
        def die(*_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_listops(tmp_path / "both", **settings, on_expressions=die)

    beside = make_listops(tmp_path / "both", **settings, on_expressions=second_dies)
    alone = make_listops(tmp_path / "alone", **settings)
    for name in FILES:
        assert (beside / name).read_bytes() == (alone / name).read_bytes()


def test_a_folder_that_came_to_nothing_can_be_used_for_other_settings(tmp_path):
    few = {"counts": (6000, 5, 5), "workers": 1}
    with pytest.raises(ConfigError, match="of SM with shortest 5, longest 9"):
        make_listops(tmp_path, **few, shortest=5, longest=9, operators=("SM",), most_arguments=2)
    make_listops(tmp_path, counts=(50, 5, 5), shortest=5, longest=20, workers=1)
