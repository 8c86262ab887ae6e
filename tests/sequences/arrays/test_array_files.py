"""Sequences from files: the same from every format, and what is wrong with a file is named before anything learns from it."""

import gzip
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from ulmus.errors import ConfigError, DataError, MissingToolError
from ulmus.sequences.arrays.files import read_sequences, step_ms
from ulmus.sequences.arrays.layout import Layout
from ulmus.sequences.arrays.sequence_set import sequence_set, spelt, vocabulary
from ulmus.sequences.arrays.splits import check_apart, split
from ulmus.sequences.arrays.targets import class_targets, classes_of, number_targets

LENGTHS = [4, 2, 3]
LABELS = np.array(["left", "right", "left"])


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(3, 4, 2)).round(3)


def rows(values):
    """A long table: a row for every step."""
    lines = ["sequence,time_ms,x,y,label,subject"]
    for index, length in enumerate(LENGTHS):
        lines += [
            f"s{index},{5 * step},{values[index, step, 0]},{values[index, step, 1]},{LABELS[index]},{index % 2}"
            for step in range(length)
        ]
    return lines


def test_every_format_holds_the_same_sequences(values, tmp_path):
    padded = {
        "values": values,
        "targets": LABELS,
        "lengths": np.array(LENGTHS),
        "channels": np.array(["x", "y"]),
    }
    flat = np.concatenate([values[index, :length] for index, length in enumerate(LENGTHS)])
    np.savez(tmp_path / "padded.npz", **padded)
    np.savez(tmp_path / "flat.npz", **(padded | {"values": flat}))
    with h5py.File(tmp_path / "padded.h5", "w") as file:
        for name, part in padded.items():
            file[name] = part.astype("S8").astype(h5py.string_dtype()) if part.dtype.kind == "U" else part
    (tmp_path / "folder").mkdir()
    for name, part in padded.items():
        np.save(tmp_path / "folder" / f"{name}.npy", part)
    table = rows(values)
    (tmp_path / "long.csv").write_text("\n".join(table))
    with gzip.open(tmp_path / "shuffled.tsv.gz", "wt") as file:
        file.write("\n".join(line.replace(",", "\t") for line in [table[0], *table[:0:-1]]))
    arrays, columns = Layout(), Layout(targets=("label",), columns=("subject",), time="time_ms")
    found = {
        name: read_sequences([str(tmp_path / name)], arrays)
        for name in ("padded.npz", "flat.npz", "padded.h5", "folder")
    }
    found |= {
        name: read_sequences([str(tmp_path / name)], columns) for name in ("long.csv", "shuffled.tsv.gz")
    }
    order = {"shuffled.tsv.gz": [2, 1, 0]}
    for name, sequences in found.items():
        assert sequences.channels == ("x", "y"), name
        for place, index in enumerate(order.get(name, [0, 1, 2])):
            np.testing.assert_allclose(sequences.sequence(place), values[index, : LENGTHS[index]])
            assert str(sequences.target(place)) == LABELS[index], name
    assert isinstance(found["folder"].values, np.memmap)
    assert step_ms([str(tmp_path / "long.csv")], columns) == 5.0
    assert found["long.csv"].columns["subject"].tolist() == [0, 1, 0]


def test_parquet_holds_the_same_sequences_as_a_table_or_a_list_in_every_row(values, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    heads, *lines = (line.split(",") for line in rows(values))
    columns = dict(zip(heads, map(list, zip(*lines, strict=True)), strict=True))
    columns |= {name: [float(cell) for cell in columns[name]] for name in ("time_ms", "x", "y")}
    columns["x"][1] = None
    parquet.write_table(pyarrow.table(columns), tmp_path / "long.parquet")
    layout = Layout(targets=("label",), columns=("subject",), time="time_ms", missing="mask")
    found = read_sequences([str(tmp_path / "long.parquet")], layout)
    assert np.isnan(found.sequence(0)[1, 0])
    assert found.columns["subject"].tolist() == [0, 1, 0]
    assert step_ms([str(tmp_path / "long.parquet")], layout) == 5.0
    each = [values[index, :length].tolist() for index, length in enumerate(LENGTHS)]
    each[2][1][0] = None
    parquet.write_table(pyarrow.table({"values": each, "label": LABELS.tolist()}), tmp_path / "lists.parquet")
    lists = read_sequences([str(tmp_path / "lists.parquet")], Layout(targets=("label",), missing="mask"))
    for index, length in enumerate(LENGTHS):
        np.testing.assert_allclose(found.sequence(index)[1:, 1], values[index, 1:length, 1])
        expected = values[index, :length].copy()
        expected[1:2, 0] = np.nan if index == 2 else expected[1:2, 0]
        np.testing.assert_allclose(lists.sequence(index), expected)
        assert str(lists.target(index)) == str(found.target(index)) == LABELS[index]
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged.parquet cannot be read .*Parquet"):
        read_sequences([str(tmp_path / "damaged.parquet")], layout)


def test_parquet_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingToolError, match=r"needs the package pyarrow, .*'ulmus\[parquet\]'"):
        read_sequences([str(tmp_path / "a.parquet")], Layout())


def test_a_wide_table_has_a_row_for_every_sequence(values, tmp_path):
    heads = [f"{channel}_{step}" for step in range(4) for channel in "ab"]
    lines = [",".join([*map(str, row.ravel()), label]) for row, label in zip(values, LABELS, strict=True)]
    (tmp_path / "wide.csv").write_text("\n".join([",".join([*heads, "label"]), *lines]))
    found = read_sequences([str(tmp_path / "wide.csv")], Layout(targets=("label",)))
    np.testing.assert_allclose(np.stack(found.values), values)
    assert found.channels == ("a", "b")
    one = read_sequences([str(tmp_path / "wide.csv")], Layout(values=("a_0", "a_1"), targets=("b_0", "b_1")))
    np.testing.assert_allclose(one.sequence(1), values[1, :2, :1])
    np.testing.assert_allclose(one.target(1), values[1, :2, 1])


def wide(folder, *lines, **layout):
    (folder / "wide.csv").write_text("\n".join(lines))
    return read_sequences([str(folder / "wide.csv")], Layout(**({"targets": ("label",)} | layout)))


def test_columns_of_a_wide_table_are_steps_in_any_order_and_shorter_sequences_say_so(tmp_path):
    lines = ["lengths,x_10,x_2,x_18,y_18,y_2,y_10,label", "3,2,1,3,6,4,5,a", "2,8,7,,,9,10,b"]
    found = wide(tmp_path, *lines)
    assert (found.channels, found.lengths.tolist()) == (("x", "y"), [3, 2])
    assert found.sequence(0).tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found.sequence(1).tolist() == [[7, 9], [8, 10]]
    assert wide(tmp_path, "1,0,label", "5,3,a", "6,4,b").sequence(0).tolist() == [[3], [5]]
    found = wide(tmp_path, "lengths,t_1,t_0,label", "2,5,3,a", "1,,4,b", input="tokens")
    assert [found.sequence(k).tolist() for k in range(2)] == [[3, 5], [4]]


@pytest.mark.parametrize(
    ("lines", "layout", "message"),
    [
        (("id,x_0,x_1,label", "7,1,2,a"), {}, r"columns \['id'\] beside those of steps, such as 'x_0'"),
        (
            ("x_0,x_1,x_2,y_0,label", "1,2,3,4,a"),
            {},
            r"'y' of .* has columns for the steps \[0\]; .*same of every",
        ),
        (("x_0,x_1,x_3,label", "1,2,3,a"), {}, r"steps \[0, 1, 3\]; expected steps that are evenly apart"),
        (("label", "a"), {}, r"has the columns \['label'\] and none for values"),
        (("x_0,x_1,label", "1,,a"), {}, "x of sequence 0 .* is nan at step 1; .*as 'lengths'"),
        (("lengths,x_0,x_1,label", "9,1,2,a"), {}, "length of sequence 0 is 9; expected 1 to 2"),
        (("lengths,x_0,x_1,label", ",1,2,a"), {}, "number of steps of sequence 0 .* is missing"),
        (
            ("t_0,t_1,label", "1,2.5,a"),
            {"input": "tokens"},
            "a token of sequence 0 .* is 2.5; expected whole numbers",
        ),
        (("t_0,t_1,label", "1,,a"), {"input": "tokens"}, "a token of sequence 0 .* is missing; .*'lengths'"),
        (
            ("t_0,u_0,label", "1,2,a"),
            {"input": "tokens"},
            "expected one column of tokens. Name it with data.values",
        ),
        (("text,id,label", "ab,1,a"), {"input": "characters"}, "expected one column of characters. Name it"),
        (("sequence,t,id,label", "s,1,2,a"), {"input": "tokens"}, "expected one column of tokens"),
        (("sequence,t,label", "s,1.5,a"), {"input": "tokens"}, "a token of sequence s .* is 1.5"),
    ],
)
def test_tables_that_do_not_say_what_is_meant(lines, layout, message, tmp_path):
    with pytest.raises(DataError, match=message):
        wide(tmp_path, *lines, **layout)


def test_groups_of_hdf5_are_part_of_the_name(values, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["day 1/values"], file["day 1/label"] = values, [0, 1, 0]
    found = read_sequences(
        [str(tmp_path / "a.h5")], Layout(values=("day 1/values",), targets=("day 1/label",))
    )
    np.testing.assert_array_equal(found.values, values)
    with pytest.raises(
        DataError, match=r"has no 'values'; expected one of \['day 1/label', 'day 1/values'\]"
    ):
        read_sequences([str(tmp_path / "a.h5")], Layout(targets=None))


def test_events_fall_into_steps(tmp_path):
    events = {
        "event_sequence": np.array([1, 0, 0]), "event_time_ms": np.array([3.9, 8.0, 0.0]), "event_channel": np.array([2, 0, 1]),
    }  # fmt: skip
    np.savez(tmp_path / "events.npz", **events, duration_ms=10.0, targets=np.array([0, 1, 0]))
    found = read_sequences([str(tmp_path / "events.npz")], Layout(dt_ms=4.0))
    assert found.lengths.tolist() == [3, 3, 3]
    assert [part.tolist() for part in found.values] == [[[0, 1, 1], [2, 0, 1]], [[0, 2, 1]], []]
    np.savez(tmp_path / "more.npz", event_sequence=[0], event_time_ms=[0.0], event_channel=[4], targets=[1])
    both = read_sequences([str(tmp_path / "events.npz"), str(tmp_path / "more.npz")], Layout(dt_ms=4.0))
    assert (len(both), both.channels[-1]) == (4, "channel 4")
    np.savez(tmp_path / "events.npz", **events, duration_ms=5.0, targets=np.array([0, 1, 0]))
    with pytest.raises(DataError, match=r"sequence 0 comes at 8.0 ms, but it lasts 5 ms"):
        read_sequences([str(tmp_path / "events.npz")], Layout(dt_ms=4.0))


def test_characters_that_training_did_not_meet_have_one_place(tmp_path):
    (tmp_path / "texts.csv").write_text('text,label\n"abba",0\n"cab, a",1\n')
    found = read_sequences([str(tmp_path / "texts.csv")], Layout(targets=("label",), input="characters"))
    known = vocabulary(found.values)
    assert known[:-1] == (" ", ",", "a", "b", "c")
    tokens = spelt(sequence_set(["abx"]), known)
    assert tokens.sequence(0).tolist() == [2, 3, 5]


def test_means_and_deviations_leave_out_what_pads_and_what_is_missing():
    values = np.random.default_rng(0).normal(300, 5, size=(3, 4, 2))
    values[1, 1, 0] = np.nan
    found = sequence_set(values, lengths=LENGTHS, missing="mask")
    there = np.concatenate([values[index, :length] for index, length in enumerate(LENGTHS)])
    mean, deviation = found.moments()
    np.testing.assert_allclose(mean, np.nanmean(there, axis=0))
    np.testing.assert_allclose(deviation, np.nanstd(there, axis=0))
    with pytest.raises(DataError, match="channel 1 of the data is missing at every step"):
        sequence_set(np.array([[[1.0, np.nan]]]), missing="mask").moments()
    masked = sequence_set(values, lengths=LENGTHS, mask=np.ones((3, 4)) * [1, 1, 0, 1], missing="mask")
    assert np.isnan(masked.sequence(0)[:, 1]).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.full((3, 4, 2), np.nan)}, r"channel 0 of sequence 0 .* is nan at step 0; .*'lengths'"),
        ({"values": np.array([[[1.0, np.inf], [0, 0]]])}, "channel 1 of sequence 0 .* is inf at step 0"),
        ({"lengths": np.array([4, 9, 3])}, "length of sequence 1 is 9; expected 1 to 4"),
        ({"lengths": np.array([4, 2])}, r"lengths have shape \[2\]"),
        ({"targets": np.array([0, 1])}, "3 sequences and 2 targets"),
        ({"values": np.ones((3, 4), dtype=int)}, "may be tokens or one channel of numbers"),
        ({"values": np.empty((0, 4, 2))}, "holds no sequence"),
        ({"channels": np.array(["x"])}, "2 channels and 1 names"),
        ({"channels": np.array(["x", "x"])}, "2 channels and 1 names"),
        ({"values": np.full((3, 4, 2), 1e39)}, "is 1e.39 at step 0; expected a finite number that single"),
        ({"mask": np.ones((2, 4, 2), bool)}, "3 sequences, but a mask of 2"),
        ({"values": np.zeros((12, 2)), "lengths": np.array([-1, 7, 6])}, "length of sequence 0 is -1"),
        (
            {"values": np.zeros((12, 2)), "lengths": np.array([4.0, 4.0, 4.0])},
            "type float64; expected 3 whole",
        ),
        ({"values": np.array([["a", "b"]] * 3)}, "expected numbers .*, or texts"),
    ],
)
def test_arrays_that_cannot_be(values, tmp_path, change, message):
    arrays = {"values": values, "targets": np.array([0, 1, 0])} | change
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_sequences([str(tmp_path / "a.npz")], Layout())


def test_values_of_unequal_length_need_lengths():
    with pytest.raises(DataError, match="lengths add up to 5 steps, but there are 6 values"):
        sequence_set(np.zeros((6, 2)), lengths=[2, 3])
    with pytest.raises(DataError, match=r"sequence 1 of the data has shape \[3, 1\]; expected \[time, 2\]"):
        sequence_set([np.zeros((4, 2)), np.zeros((3, 1))])
    with pytest.raises(
        DataError, match="sequence 1 of the data has 3 steps and 5 targets; expected one for each"
    ):
        sequence_set([np.zeros((4, 2)), np.zeros((3, 2))], [np.zeros(4), np.zeros(5)])
    with pytest.raises(DataError, match="values are tokens; leave it out"):
        sequence_set(np.zeros((2, 3), dtype=int), input="tokens", mask=np.ones((2, 3)))


def test_texts_and_names_may_be_bytes_and_tensors_of_any_kind(values):
    found = sequence_set(values, LABELS.astype("S5"), columns={"subject": np.array([b"a", b"b", b"a"])})
    assert [str(found.target(k)) for k in range(3)] == LABELS.tolist()
    assert found.columns["subject"].tolist() == ["a", "b", "a"]
    assert sequence_set(np.array([b"ab", b"c"])).values == ["ab", "c"]
    parts = [torch.zeros(2, 3), torch.ones(4, 3)]
    for given in (
        torch.nested.nested_tensor(parts, layout=torch.jagged),
        [part.bfloat16() for part in parts],
        [p.to_sparse() for p in parts],
    ):
        found = sequence_set(given)
        assert found.lengths.tolist() == [2, 4]
        assert found.sequence(1).tolist() == [[1.0] * 3] * 4


def test_files_that_cannot_be(values, tmp_path):
    np.savez(tmp_path / "objects.npz", values=np.array([np.zeros(2), np.zeros(3)], dtype=object))
    (tmp_path / "damaged.npz").write_bytes(b"PK nothing")
    (tmp_path / "table.csv").write_text("sequence,x,label\n0,1.5,a\n0,oops,a\n")
    (tmp_path / "short.csv").write_text("x,label\n1,a\n2\n")
    (tmp_path / "data.xlsx").write_bytes(b"PK")
    (tmp_path / "european.csv").write_text("x;label\n1,5;a\n")
    np.savez(tmp_path / "other.npz", X=values)
    for name, message in {
        "objects.npz": "holds Python objects.*'lengths'",
        "damaged.npz": "cannot be read.*expected a file of format npz",
        "table.csv": "column 'x' of .* is 'oops' in line 3; expected a number",
        "short.csv": "line 3 of .* has 1 cells; expected 2",
        "data.xlsx": "format that is not read.*Save it as one of these",
        "european.csv": "has semicolons between its columns; expected commas",
        "other.npz": r"has no 'values'; expected one of \['X'\]",
        "nowhere.npz": "does not exist",
    }.items():
        with pytest.raises(DataError, match=message):
            read_sequences(
                [str(tmp_path / name)], Layout(targets=("label",) if name.endswith("csv") else None)
            )


def test_a_column_that_says_which_rows_are_a_sequence_has_to_be_there(values, tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(rows(values)))
    for one in (Layout(sequence="trial"), Layout(sequence="trial", time="time_ms")):
        layout = replace(one, targets=("label",))
        with pytest.raises(DataError, match="has no column 'trial'; expected one of"):
            read_sequences([str(tmp_path / "a.csv")], layout)


def test_what_is_scored_alone_needs_no_subjects(values, tmp_path):
    lines = [line.rpartition(",")[0] for line in rows(values)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "a.npz", values=values, label=LABELS)
    for name in ("a.csv", "a.npz"):
        layout = Layout(targets=("label",), columns=("subject",), optional=True)
        assert len(read_sequences([str(tmp_path / name)], layout)) == 3
        with pytest.raises(DataError, match="has no (column )?'subject'"):
            read_sequences([str(tmp_path / name)], replace(layout, optional=False))


def test_rows_that_are_not_evenly_spaced_and_labels_that_change_are_named(values, tmp_path):
    lines = rows(values)
    lines[2] = lines[2].replace(",5,", ",7,")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(
        DataError, match=r"rows of sequence s0 .* not evenly spaced: 0 ms is followed by 7 ms"
    ):
        read_sequences(
            [str(tmp_path / "a.csv")], Layout(targets=("label",), columns=("subject",), time="time_ms")
        )
    lines[2] = lines[2].replace("left", "right")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    layout = Layout(values=("x", "y"), targets=("label",))
    with pytest.raises(
        DataError, match="'label' of sequence s0 .* changes from left to right.*step-classification"
    ):
        read_sequences([str(tmp_path / "a.csv")], layout)


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["01", "1", "2"], ("01", "1", "2")),
        (["1E2", "100", "3"], ("100", "1E2", "3")),
        (["1_1", "11", "2_1"], ("11", "1_1", "2_1")),
        (["1.0", "1", "2"], ("1", "1.0", "2")),
        (["10", "9", " -3"], ("-3", "9", "10")),
        (["10.0", "9.0", "2.0"], ("2", "9", "10")),
        (["9" * 30, "9" * 29 + "8", "1"], ("1", "9" * 29 + "8", "9" * 30)),
    ],
)
def test_labels_and_subjects_written_differently_stay_different(tmp_path, cells, classes):
    lines = ["x_0,label,subject", *(f"{k},{cell},{cell}" for k, cell in enumerate(cells))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    found = read_sequences([str(tmp_path / "a.csv")], Layout(targets=("label",), columns=("subject",)))
    assert classes_of(found, "classification") == classes
    assert len(set(split(found, {"test": 0.34}, by="subject")["train"].columns["subject"])) == 2


def test_a_step_without_a_class_has_none_among_labels_that_stay_texts(tmp_path):
    (tmp_path / "a.csv").write_text("sequence,x,label\na,1,01\na,2,-100\na,3,\na,4,02")
    found = read_sequences([str(tmp_path / "a.csv")], Layout(targets=("label",), step_targets=True))
    assert classes_of(found, "step-classification") == ("01", "02")
    assert class_targets(found, "step-classification", ("01", "02"))[0].tolist() == [0, -100, -100, 1]


def test_numbers_may_be_written_in_any_way_where_numbers_are_learnt(tmp_path):
    (tmp_path / "a.csv").write_text("sequence,x,y\na,1,0.50\na,2,0.5\na,3,+1E-3\na,4,1e-05")
    found = read_sequences([str(tmp_path / "a.csv")], Layout(targets=("y",), step_targets=True))
    (target,) = number_targets(found, "step-regression", False)
    np.testing.assert_allclose(target[:, 0], [0.5, 0.5, 1e-3, 1e-5])
    (tmp_path / "a.csv").write_text("sequence,x,y\na,1,0.50\na,1_000,0.5")
    with pytest.raises(DataError, match="column 'x' of .* is '1_000' in line 3; expected a number"):
        read_sequences([str(tmp_path / "a.csv")], Layout(targets=("y",), step_targets=True))


def test_steps_are_those_of_rows_sorted_by_time(values, tmp_path):
    heads, *lines = rows(values)
    layout = Layout(targets=("label",), columns=("subject",), time="time_ms")
    (tmp_path / "a.csv").write_text("\n".join([heads, *np.random.default_rng(1).permutation(lines)]))
    assert step_ms([str(tmp_path / "a.csv")], layout) == 5.0
    for cell in ("0", ""):
        (tmp_path / "a.csv").write_text("\n".join([heads, *[f"s,{cell},1,2,a,0"] * 2]))
        with pytest.raises(DataError, match="rows of a sequence in .* ms apart by column 'time_ms'"):
            step_ms([str(tmp_path / "a.csv")], layout)


def test_a_share_holds_whole_subjects_and_every_class():
    subjects = np.repeat(np.arange(10), 6)
    labels = np.tile([0, 0, 1], 20)
    found = sequence_set(
        np.random.default_rng(0).normal(size=(60, 3, 1)), labels, columns={"subject": subjects}
    )
    parts = split(found, {"validation": 0.2, "test": 0.2}, by="subject", seed=3)
    owners = [set(part.columns["subject"].tolist()) for part in parts.values()]
    assert [len(owner) for owner in owners] == [6, 2, 2]
    assert set.union(*owners) == set(range(10))
    stratified = split(found, {"validation": 0.2})["validation"]
    assert sorted(int(stratified.target(k)) for k in range(len(stratified))) == [0] * 8 + [1] * 4
    check_apart(parts, "subject")
    with pytest.warns(
        UserWarning, match=r"1 of 1 sequences of test are in train too, such as sequence 3 of the data"
    ):
        check_apart({"train": found.take(range(4)), "test": found.take([3])}, None)
    one, other = (
        sequence_set(np.ones((1, 2, 1)) * k, [k], columns={"subject": np.array([label])})
        for k, label in enumerate((1, 1.0))
    )
    with pytest.raises(DataError, match="subject 1 is in train and in test"):
        check_apart({"train": one, "test": other}, "subject")
    apart = {
        part: sequence_set(np.ones((1, 2, 1)) * k, [k], columns={"subject": np.array([1234567.0 + k])})
        for k, part in enumerate(("train", "test"))
    }
    check_apart(apart, "subject")
    with pytest.raises(DataError, match="sequence 1 of the data has no 'subject'"):
        split(
            sequence_set(np.ones((2, 2, 1)), columns={"subject": np.array([1, np.nan])}),
            {"test": 0.5},
            by="subject",
        )
    with pytest.raises(DataError, match=r"subject 0 is in train and in test"):
        check_apart({"train": found.take(range(4)), "test": found.take([5])}, "subject")
    with pytest.raises(DataError, match="same content is in train and in validation"):
        check_apart({"train": found, "validation": found}, None)
    with pytest.raises(ConfigError, match="leave nothing to learn from"):
        split(found, {"validation": 0.6, "test": 0.4})
    with pytest.raises(ConfigError, match="has 1 sequences, of which none is left for"):
        split(found.take([0]), {"validation": 0.2})


def test_a_share_in_time_is_the_end_of_every_sequence():
    values = np.arange(20.0).reshape(2, 10, 1)
    parts = split(
        sequence_set(values, values), {"validation": 0.2, "test": 0.3}, how="time", step_targets=True
    )
    assert [
        np.asarray(parts[name].sequence(1))[:, 0].tolist() for name in ("train", "validation", "test")
    ] == [
        [10, 11, 12, 13, 14],
        [15, 16],
        [17, 18, 19],
    ]
    assert parts["test"].target(0)[:, 0].tolist() == [7, 8, 9]


def test_a_mask_may_lie_behind_each_other_as_the_values_do(values, tmp_path):
    there = np.ones((sum(LENGTHS), 2), bool)
    there[LENGTHS[0], 1] = False  # the first step of the second sequence
    flat = np.concatenate([values[index, :length] for index, length in enumerate(LENGTHS)])
    np.savez(tmp_path / "a.npz", values=flat, lengths=LENGTHS, mask=there, targets=LABELS)
    found = read_sequences([str(tmp_path / "a.npz")], Layout(missing="mask"))
    assert [int(np.isnan(found.sequence(k)).sum()) for k in range(3)] == [0, 1, 0]


def test_what_is_declared_or_lies_elsewhere_is_not_read(values, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(8 * 24))
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file.create_dataset("values", (3, 4, 2), "f8", external=[(str(tmp_path / "secret.bin"), 0, 8 * 24)])
    with h5py.File(tmp_path / "declared.h5", "w") as file:
        file.create_dataset("values", (10**9, 4, 2), "f8", chunks=(10**5, 4, 2))
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(b"x_0\n" + b"0" * 300_000_000, 1))
    np.savez(tmp_path / "channel.npz", event_sequence=[0], event_time_ms=[0.0], event_channel=[10**8])
    for name, message in {
        "outside.h5": "lie in another file",
        "declared.h5": "declares .* expected at most",
        "packed.csv.gz": "declares .* expected at most",
        "channel.npz": "channel 100000000; expected fewer than 100000",
    }.items():
        with pytest.raises(DataError, match=message):
            read_sequences([str(tmp_path / name)], Layout(targets=None))
    np.savez(tmp_path / "objects.npz", values=values, unrelated=np.array([{}], dtype=object))
    assert len(read_sequences([str(tmp_path / "objects.npz")], Layout(targets=None)).lengths) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_time_ms": [1e300, 0.0]}, "too large.*times below 1e"),
        ({"event_time_ms": [np.nan, 0.0]}, "not finite"),
        ({"event_sequence": [10**9, 0]}, "too large"),
        ({"event_channel": [0.5, 1.0]}, "no whole numbers"),
        ({"event_amplitude": [np.inf, 1.0]}, "amplitudes that are not finite"),
        ({"event_channel": 3}, "different lengths"),
        ({"duration_ms": np.inf}, "duration_ms has shape"),
        ({"duration_ms": [5.0, 5.0, 5.0]}, "expected one number or 2"),
    ],
)
def test_events_that_can_be_none_are_refused(change, message, tmp_path):
    events = {"event_sequence": [0, 1], "event_time_ms": [1.0, 2.0], "event_channel": [0, 1]}
    np.savez(tmp_path / "a.npz", **{**events, **change})
    with pytest.raises(DataError, match=message):
        read_sequences([str(tmp_path / "a.npz")], Layout(targets=None))


def test_a_name_that_is_no_text_is_passed_over(values, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["values"] = values
        h5py.h5d.create(file.id, b"\xff\xfe", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((2,)))
    assert len(read_sequences([str(tmp_path / "a.h5")], Layout(targets=None)).lengths) == 3


@pytest.mark.parametrize("name", ["values", "targets", "lengths", "mask"])
def test_one_number_is_no_array(values, name, tmp_path):
    parts = {"values": values, "targets": LABELS, "lengths": LENGTHS, "mask": np.ones_like(values)}
    np.savez(tmp_path / "a.npz", **{**parts, name: np.array(1)})
    with pytest.raises(DataError, match=f"{name} is one number"):
        read_sequences([str(tmp_path / "a.npz")], Layout())


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["01", "01 ", "02"], ["01", "01", "02"]),
        (["01", "02", "NaN", " "], ["01", "02", "", ""]),
        (["NAN", "1"], [np.nan, 1.0]),
        (["1234567890123456789", "-3"], [1234567890123456789, -3]),
        (["a", "NaN", "01"], ["a", "NaN", "01"]),
    ],
)
def test_numbers_that_are_names_are_stripped_and_missing_ones_stay_missing(cells, expected):
    from ulmus.sequences.arrays.tables import _typed

    np.testing.assert_array_equal(_typed(cells), np.array(expected))
