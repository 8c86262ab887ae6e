"""Whether something watches operations instead of, or beside, computing them."""

import torch
from torch import Tensor


def traced(like: Tensor) -> bool:
    """Whether something records or imitates operations, so that it has to see one: torch.compile, modes and their tensors."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._ops._len_torch_dispatch_stack_pre_dispatch() > 0  # type: ignore[no-untyped-call]
        or type(like) not in (Tensor, torch.nn.Parameter)
    )
