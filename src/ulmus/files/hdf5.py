"""HDF5 from strangers: damage is said with file and key, and nothing beyond the folder of the file is read.

A file of HDF5 can name other files: by external links, external storage and virtual data sets. Links are followed one
by one here, before the library sees them: within the file, and to files in its folder or below.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ulmus.errors import DataError
from ulmus.files.limits import check_unpacked
from ulmus.files.reading import explained

MAX_KEYS = 100_000
_MAX_HOPS = 40  # of links that lead to links
_AT_ONCE = 256  # lists that are read at a time, so that a few that are stored once cannot become any size


@contextmanager
def new_hdf5(path: Path, **layout: Any) -> Iterator[Any]:
    """A file of HDF5 to fill, made in memory and written at once when it is complete.

    HDF5 itself keeps what it could not write to a full disk, and tries again, prints a traceback or crashes when that is freed.

    Args:
        path: the file.
        layout: arguments of ``h5py.File``, such as alignment.

    Raises:
        OSError: it cannot be written.
    """
    import h5py

    with h5py.File(path, "w", driver="core", backing_store=False, **layout) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)


class Hdf5:
    """An HDF5 file.

    Args:
        path: the file.

    Raises:
        DataError: missing, or not HDF5.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        with explained(str(path), "an HDF5 file", "check path and format, or copy it again"):
            self._file = h5py.File(path, "r", locking=False)
        self._others: dict[Path, Hdf5] = {}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the whole file."""
        return self._file.attrs  # type: ignore[no-any-return]

    def dataset(self, key: str) -> Any:
        """The data set under a key.

        Raises:
            DataError: there is none, it is damaged, or lies outside of the folder of the file.
        """
        import h5py

        with explained(f"{self.path}: {key}"):
            found = self._at(key, 0)
            if not isinstance(found, h5py.Dataset):
                raise DataError(f"{self.path}: {key} is not a data set; expected numbers; name another key")
            self._check_inside(found, key, 0)
            return found

    def values(self, dataset: Any, part: Any = ()) -> Any:
        """The values of a data set or of a part of it; texts whole, and a list of arrays for lists of different lengths.

        Raises:
            DataError: damaged, or larger than what is stored can be.
        """
        import h5py

        key = str(dataset.name)
        with explained(f"{self.path}: {key}"):
            if dataset.attrs.get("MATLAB_empty"):  # MATLAB stores the shape of an array without elements
                shape = tuple(int(side) for side in dataset[()])
                check_unpacked(8 * math.prod(shape), 0, f"{self.path}: {key}")
                return np.zeros(shape)
            stored = dataset.id.get_storage_size()
            if dataset.is_virtual:
                stored = self.path.stat().st_size
            check_unpacked(_bytes(dataset, part), stored, f"{self.path}: {key}")
            text = h5py.check_string_dtype(dataset.dtype)
            if text is not None and dataset.shape:
                texts = self._pieces(dataset.asstr("utf-8"), len, key)
                check_unpacked(4 * len(texts) * max(map(len, texts), default=0), 0, f"{self.path}: {key}")
                return np.array(texts, dtype=str).reshape(dataset.shape)
            if not isinstance(h5py.check_vlen_dtype(dataset.dtype), np.dtype):
                return np.asarray(dataset[part])
            return self._pieces(dataset, lambda values: values.nbytes, key)

    def _pieces(self, dataset: Any, size: Callable[[Any], int], key: str) -> list[Any]:
        """What is stored apart from the data set itself, and may be stored once for many entries."""
        found: list[Any] = []
        total = 0
        for first in range(0, len(dataset), _AT_ONCE):
            some = dataset[first : first + _AT_ONCE].ravel().tolist()
            total += sum(map(size, some))
            check_unpacked(total, self.path.stat().st_size, f"{self.path}: {key}")
            found += some
        return found

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Every key with its data set, or with the error that says why it cannot be read.

        Raises:
            DataError: more keys than any data have, as links in circles make.
        """
        for number, found in enumerate(self._walk("", ())):
            if number >= MAX_KEYS:
                raise DataError(f"{self.path} has more than {MAX_KEYS} keys; expected fewer; split the file")
            yield found

    def _walk(self, key: str, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
        import h5py

        try:
            with explained(f"{self.path}: {key or 'the file'}"):
                found = self._at(key, 0)
                if isinstance(found, h5py.Dataset):
                    self._check_inside(found, key, 0)
                    yield key, found
                    return
                if not isinstance(found, h5py.Group):
                    return
                place = _place(found)
                names = [] if place in above else list(found)
        except DataError as error:
            yield key, error
            return
        for name in names:
            readable = (
                name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            )  # bytes that are no text
            yield from self._walk(f"{key}/{readable}" if key else readable, (*above, place))

    def _at(self, key: str, hops: int) -> Any:
        """What lies under a key from the root, links followed step by step."""
        import h5py

        found: Any = self._file["/"]
        steps = [step for step in key.split("/") if step not in ("", ".")]
        for position, name in enumerate(steps):
            link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                raise DataError(f"{self.path} has no key {key!r}; expected one of its keys; correct it")
            if hops > _MAX_HOPS:
                raise DataError(
                    f"{self.path}: {key} is a link that leads in circles; expected data; remove it"
                )
            rest = "/".join(steps[position + 1 :])
            if isinstance(link, h5py.SoftLink):
                folder = "" if link.path.startswith("/") else found.name
                return self._at(f"{folder}/{link.path}/{rest}", hops + 1)
            if isinstance(link, h5py.ExternalLink):
                return self._other(link.filename, key)._at(f"{link.path}/{rest}", hops + 1)
            found = found[name]
        return found

    def _other(self, name: str, key: str) -> "Hdf5":
        """A file that this one names."""
        folder = self.path.parent.resolve()
        path = (folder / name).resolve()
        if PurePosixPath(name).is_absolute() or not path.is_relative_to(folder):
            raise DataError(
                f"{self.path}: {key} lies in another file, {name!r}; expected data of this file, or of its folder; nothing was "
                "read of that; copy the data into this file"
            )
        if path not in self._others:
            self._others[path] = Hdf5(path)
        return self._others[path]

    def _check_inside(self, dataset: Any, key: str, hops: int) -> None:
        """Whether the bytes of a data set lie in this file, or in others of its folder."""
        if dataset.external:
            name = str(dataset.external[0][0])
            raise DataError(
                f"{self.path}: the values of {key} lie in another file, {name!r}; expected them in this one; nothing was read "
                "of that; copy the data into this file"
            )
        if not dataset.is_virtual:
            return
        if hops > _MAX_HOPS:
            raise DataError(f"{self.path}: {key} is made of itself; expected data; name another key")
        for source in dataset.virtual_sources():
            other = self if source.file_name == "." else self._other(source.file_name, key)
            other._check_inside(other._at(source.dset_name, hops + 1), source.dset_name, hops + 1)


def _bytes(dataset: Any, part: Any) -> int:
    """Bytes of a part of a data set in memory."""
    whole: int = math.prod(dataset.shape or (1,)) * int(dataset.dtype.itemsize)
    if part in ((), slice(None)) or not dataset.shape:
        return whole
    parts = part if isinstance(part, tuple) else (part,)
    for side, taken in zip(dataset.shape, parts, strict=False):
        count = 1 if isinstance(taken, int) else len(range(*taken.indices(side)))
        whole = whole // max(side, 1) * count
    return whole


def _place(group: Any) -> tuple[int, int]:
    """What tells groups apart, whatever their names."""
    import h5py

    info = h5py.h5o.get_info(group.id)
    return info.fileno, info.addr
