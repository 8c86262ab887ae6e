"""Making a data set in pieces, on several processes, so that it can go on after an interruption."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ulmus.errors import ConfigError, DataError, UlmusError, extra
from ulmus.files.reading import read_json
from ulmus.files.writing import write_json

RECORD = "generated.json"
"""Lies beside data that Ulmus made, with the settings; the published archive has no such file."""

Report = Callable[[int, int], None]
"""Called with how much is done, and the total."""


def generated_by_us(folder: Path) -> dict[str, Any] | None:
    """The settings that data were generated with; None for data of the published archive.

    Raises:
        DataError: the record is damaged.
    """
    record = folder / RECORD
    remedy = "restore it from a copy, or make the data again in another folder"
    return read_json(record, remedy=remedy) if record.exists() else None


def begin(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder and record what it is made with, or check that it was begun with the same.

    Raises:
        ConfigError: it was begun with other settings.
        DataError: it holds data that we did not make.
    """
    settings = json.loads(json.dumps(settings))  # as they are read back
    present = generated_by_us(folder)
    if present is None:
        foreign = next(iter(folder.iterdir()), None) if folder.is_dir() else None
        if foreign is not None:
            raise DataError(
                f"{folder} holds {foreign.name!r} but no {RECORD}: it may be the published data; expected an empty "
                "folder or one begun here; give another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RECORD, settings, replace=False)
        return
    differences = [
        f"{key}: {settings.get(key, 'default')} != {present.get(key, 'default')}"
        for key in sorted({*settings, *present})
        if settings.get(key) != present.get(key)
    ]
    if differences:
        raise ConfigError(
            f"{folder} was begun with other settings: {'; '.join(differences[:4])} (asked for != present); expected "
            "the same; use these settings again, or another folder"
        )


def give_up(folder: Path) -> None:
    """Forget what a folder was begun with, if nothing was made in it."""
    if [path.name for path in folder.iterdir()] == [RECORD]:
        (folder / RECORD).unlink()


def check_positive(**values: int | None) -> None:
    """Refuse counts below 1; None is what a default stands for.

    Raises:
        ConfigError: names the first such value.
    """
    for name, value in values.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}: expected at least 1; correct {name}")


def check_seed(seed: int) -> None:
    """Refuse seeds that do not fit.

    Raises:
        ConfigError: a seed below 0, or 2**63 or above (those are for measuring the balance).
    """
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed={seed}: expected 0 to 2**63 - 1; choose another seed")


def in_order(
    work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], workers: int | None
) -> Iterator[Any]:
    """Results of ``work(*arguments[k])`` in order, from several processes.

    Raises:
        UlmusError: a process was killed.
    """
    with extra("sequences", "making sequences"):
        import joblib
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    count = min(workers or joblib.cpu_count(), max(1, len(arguments)))
    pool = joblib.Parallel(n_jobs=count, return_as="generator", batch_size=1, pre_dispatch=2 * count)
    results = pool(joblib.delayed(work)(*each) for each in arguments)
    try:
        for result in results:  # noqa: UP028 - `yield from` would close `results` where it may warn
            yield result
    except TerminatedWorkerError as error:
        raise UlmusError(
            "a worker process was killed, perhaps for lack of memory; what is finished stays. Run the same command "
            "again to go on, with fewer workers if memory is short."
        ) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that work is cancelled whose result nobody wants
            results.close()
