"""A reader for pickles from strangers: plain values and numpy arrays, and nothing that runs.

An ordinary unpickler calls whatever function the file names. This one knows seven names, all of them objects of its
own that build plain values, so that neither numpy's nor any other code is handed to the file. Before it starts, the
file is walked through once: nine bytes can make the standard library's reader reserve gigabytes for places in a list.
"""

import gzip
import io
import lzma
import pickle
import re
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from jaxtyping import Shaped

from ulmus.errors import DataError
from ulmus.files.limits import check_unpacked
from ulmus.files.pickle_walk import check_pickle
from ulmus.files.reading import explained

_PIECE = 1 << 20
_LONGEST_TEXT = 1000
_DTYPE = re.compile(r"[<>|=]?([biufcSUO])(\d*)")


def read_pickle(path: Path) -> Any:
    """The plain content of a pickle of Python 2 or 3 (text decoded as latin1), ``.xz`` and ``.gz`` unpacked.

    Arrays of numbers come as numpy arrays (wrapped, see :func:`array`), numpy scalars as Python numbers.

    Raises:
        DataError: the file is missing or damaged, or names a function that data do not need.
    """
    # A damaged or hostile file can fail in any way that the unpickler, the decompressor and a dict can.
    with explained(str(path), "an undamaged pickle of plain values", "copy or download it again"):
        data = _unpacked(path)
        if check_pickle(data) < len(data):
            raise ValueError("more after the end of its content")
        return _Unpickler(path, io.BytesIO(data)).load()


def array(value: Any, kinds: str = "biuf") -> Shaped[np.ndarray, "..."]:
    """The numpy array behind a value of a pickle: an array that was pickled, a flat list, or a number.

    Args:
        value: what :func:`read_pickle` gave.
        kinds: numpy kinds of content that are expected.

    Raises:
        ValueError: something else.
    """
    content = value.values if isinstance(value, _Array) else value
    if isinstance(content, (list, tuple)):
        # Flat alone: a few lists that hold each other many times would unfold to any size.
        if not all(isinstance(entry, (int, float, str)) for entry in content):
            raise ValueError("a list of something else than numbers or text")
        # As an array, every text takes the room of the longest.
        longest = max((len(entry) for entry in content if isinstance(entry, str)), default=0)
        if longest > _LONGEST_TEXT:
            raise ValueError(f"a text of {longest} letters")
        content = np.array(content)
    elif isinstance(content, (int, float)):
        content = np.array(content)
    if not isinstance(content, np.ndarray):
        raise ValueError(f"a {type(content).__name__} instead of an array")
    if content.size and content.dtype.kind not in kinds:
        raise ValueError(f"an array of {content.dtype}")
    return content


def _unpacked(path: Path) -> bytes:
    """All bytes of a file; to the end, where a compressed one has its sums."""
    unpack = {".xz": lzma.LZMAFile, ".gz": gzip.GzipFile}.get(path.suffix)
    if unpack is None:
        return path.read_bytes()
    stored, pieces, total = path.stat().st_size, [], 0
    with unpack(path) as file:
        while piece := file.read(_PIECE):
            pieces.append(piece)
            total += len(piece)
            check_unpacked(total, stored, str(path))
    return b"".join(pieces)


class _Dtype:
    """What a pickled numpy dtype says: kind, size and byte order."""

    __slots__ = ("dtype", "order", "signed")

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or not (match := _DTYPE.fullmatch(code)):
            raise ValueError(f"numpy type {code!r}; expected numbers or text")
        self._set(None if match[1] == "O" else np.dtype(code))

    def _set(self, dtype: np.dtype[Any] | None) -> None:
        self.dtype = dtype
        self.signed = {"i": True, "u": False}.get(dtype.kind) if dtype else None
        self.order: Literal["little", "big"] = "little"
        if dtype is not None and dtype.str[0] == ">":
            self.order = "big"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise ValueError("a structured numpy type; expected numbers or text")
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"numpy byte order {state[1]!r}")
        if self.dtype is not None:
            self._set(self.dtype.newbyteorder(state[1]))


class _Array:
    """A numpy array while it is read; arrays of objects become lists."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype):
            raise ValueError("an array without a numpy type")
        if dtype.dtype is None:
            if not isinstance(content, list):
                raise ValueError("an array of objects without a list of them")
            self.values = content
            return
        # The shape must fit the bytes that are there, so a small file cannot ask for a large array.
        flat = np.frombuffer(_bytes(content), dtype.dtype)
        self.values = flat.reshape(shape, order="F" if fortran else "C")


class _Maker:
    """Base of the callables a pickle may name: without attributes that it could set."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError("an attempt to change the reader")


class _MakeArray(_Maker):
    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if not isinstance(kind, _NdarrayName):
            raise ValueError(f"an array of type {kind!r}")
        return _Array()


class _NdarrayName(_Maker):
    """Stands for ``numpy.ndarray``, which pickles only name and never call."""

    __slots__ = ()


class _MakeDtype(_Maker):
    __slots__ = ()

    def __call__(self, code: Any, align: Any = False, copy: Any = False) -> _Dtype:
        return _Dtype(code)


class _MakeScalar(_Maker):
    __slots__ = ()

    def __call__(self, dtype: Any, content: Any = b"") -> Any:
        if not isinstance(dtype, _Dtype) or dtype.dtype is None:
            raise ValueError("a scalar without a numpy type")
        raw = content if isinstance(content, bytes) else _bytes(content)
        if len(raw) != dtype.dtype.itemsize:
            raise ValueError(f"a scalar of {len(raw)} bytes as {dtype.dtype}")
        if dtype.signed is not None:  # the short way: input spike times come as millions of these
            return int.from_bytes(raw, dtype.order, signed=dtype.signed)
        return np.frombuffer(raw, dtype.dtype)[0].item()


class _FromBuffer(_Maker):
    """How protocol 5 makes an array, out of bytes in the same file."""

    __slots__ = ()

    def __call__(self, content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
        if not isinstance(dtype, _Dtype) or dtype.dtype is None:
            raise ValueError("an array of objects in a buffer")
        made = _Array()
        raw = bytes(content) if isinstance(content, bytearray) else content
        made.__setstate__((None, shape, dtype, order == "F", raw))
        return made


class _EncodeLatin1(_Maker):
    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError(f"text encoded as {encoding!r}; expected latin1")
        return text.encode("latin1")


class _EmptyBytes(_Maker):
    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


def _bytes(content: Any) -> bytes:
    if isinstance(content, str):  # how Python 2 wrote bytes
        return content.encode("latin1")
    if not isinstance(content, bytes):
        raise ValueError(f"array content of type {type(content).__name__}")
    return content


_KNOWN = {
    **{
        (module, name): maker
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, maker in (("_reconstruct", _MakeArray()), ("scalar", _MakeScalar()))
    },
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy", "ndarray"): _NdarrayName(),
    ("numpy", "dtype"): _MakeDtype(),
    ("_codecs", "encode"): _EncodeLatin1(),
    ("__builtin__", "bytes"): _EmptyBytes(),
    ("builtins", "bytes"): _EmptyBytes(),
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, path: Path, file: IO[bytes]) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name that arrays are made of; every other name is refused."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise DataError(
                f"{self._path} asks to run {module}.{name}; expected numpy arrays and plain values only; nothing was "
                "run; do not trust this file, get it from its publisher"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        """Refused: data need no references to the outside."""
        raise DataError(
            f"{self._path} refers to something outside of itself ({pid!r}); do not trust this file"
        )
