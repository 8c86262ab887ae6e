"""What a user should know of once: that something is computed by the slower way, and why."""

import warnings

import torch

warned: set[str] = set()


def warn_once(what: str, obstacle: str) -> None:
    """Say that something is computed by the reference; once for each reason, and never inside a compiled graph."""
    if torch.compiler.is_compiling() or obstacle in warned:
        return
    warned.add(obstacle)
    warnings.warn(
        f"no fused {what}, using the slower PyTorch reference: {obstacle}. Said once.",
        UserWarning,
        stacklevel=6,
    )
