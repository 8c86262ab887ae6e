"""Files of torch.save from strangers: tensors and plain values, no more of them than the file holds."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from ulmus.errors import CheckpointError
from ulmus.files.limits import check_unpacked
from ulmus.files.reading import explained


def read_torch(path: Path, remedy: str) -> Any:
    """What a file of ``torch.save`` holds, without running anything.

    Args:
        path: the file.
        remedy: what to do about a damaged one, for the message.

    Raises:
        CheckpointError: missing or damaged, of a PyTorch before 1.6, or larger in memory than in the file.
    """
    with explained(str(path), "a file of torch.save, of PyTorch 1.6 or later", remedy, CheckpointError):
        with zipfile.ZipFile(path) as archive:
            check_unpacked(sum(info.file_size for info in archive.infolist()), path.stat().st_size, str(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
        _check_tensors(content, path.stat().st_size)
        return content


def _check_tensors(content: Any, stored: int) -> None:
    """Refuse tensors that show few numbers as many, and would become as large as they look when they are copied."""
    inner = (
        content.values()
        if isinstance(content, dict)
        else content
        if isinstance(content, list | tuple)
        else []
    )
    for value in inner:
        if isinstance(value, torch.Tensor):
            if value.layout is not torch.strided or value.numel() * value.element_size() > stored:
                raise ValueError(f"a tensor of shape {list(value.shape)} in {stored} bytes")
        else:
            _check_tensors(value, stored)
