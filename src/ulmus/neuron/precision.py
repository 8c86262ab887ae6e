"""What a recurrence is computed in: half precision would round memory to eight bits at every step."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

_HALF = (torch.bfloat16, torch.float16)


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """Type of state and time constants of a neuron with parameters of this type: single precision at least."""
    return torch.float32 if dtype in _HALF else dtype


def without_autocast(parameter: Tensor) -> Any:
    """Leave autocast within a ``with`` block, on the device of this parameter."""
    device = parameter.device.type
    on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()
