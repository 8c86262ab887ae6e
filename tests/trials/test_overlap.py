"""Which trials two collections share, compared with sets of trials."""

import time

import numpy as np
import pytest
from trial_examples import make_header, make_trial, write_store

from ulmus.errors import ConfigError
from ulmus.trials import StoreWriter, open_trials
from ulmus.trials.overlap import Part, check_apart, overlap, parts


def trials_of(some):
    return [(part.origin, index) for part in some for index in range(part.first, part.stop)]


def random_parts(random, count):
    first = random.integers(30, size=count)
    return [Part("ab"[random.integers(2)], int(at), int(at) + int(random.integers(1, 8))) for at in first]


def test_it_finds_what_sets_find():
    random = np.random.default_rng(0)
    for _ in range(200):
        some, others = random_parts(random, 4), random_parts(random, 5)
        wanted = sorted(trial for trial in trials_of(some) if trial in set(trials_of(others)))
        assert sorted(trials_of(overlap(some, others))) == wanted


def test_thousands_of_files_with_a_hundred_thousand_trials_take_no_time():
    some = [Part(str(file), 0, 25) for file in range(4000)]
    others = [Part(str(file), 24, 50) for file in range(4000)]
    begun = time.perf_counter()
    assert len(trials_of(overlap(some, others))) == 4000
    assert time.perf_counter() - begun < 1


def test_trials_are_known_again_after_a_store_moved_and_grew(tmp_path):
    header = make_header(40, 12)

    def write(total):
        writer = StoreWriter(tmp_path / "store", header, total, shard_trials=4)
        for index in range(total):
            writer.add(index, make_trial(header, index))
        writer.finish()

    write(6)
    before = parts(open_trials(f"{tmp_path / 'store'}[2:]"))
    write(11)
    (tmp_path / "store").rename(tmp_path / "moved")
    after = parts(open_trials(f"{tmp_path / 'moved'}[3:9]"))
    assert [(part.first, part.stop) for part in overlap(after, before)] == [(3, 6)]


def test_other_trials_of_the_same_numbers_are_others(tmp_path):
    for number in (1, 2):
        write_store(tmp_path / f"trials_{number}", 4, header=make_header(number=number))
    one, other = (open_trials(tmp_path / f"trials_{number}") for number in (1, 2))
    check_apart({"training": one, "test": other})
    with pytest.raises(ConfigError, match=r"trials 1 to 2 of .*trials_2 are in training and in test"):
        check_apart(
            {
                "training": open_trials(f"{tmp_path}/trials_*[:3]"),
                "test": open_trials(f"{tmp_path}/trials_2[1:]"),
            }
        )
