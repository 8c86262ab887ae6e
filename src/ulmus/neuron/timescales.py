"""Time constants of the memory units: spaced over a range, bounded, frozen or learned."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ulmus.errors import ConfigError, closest

SPACINGS = ["log", "linear"]
_INSET = 1e-6  # keeps the inverse of the sigmoid finite at the two ends; same as the authors'


class TimeConstants(nn.Module):
    """Time constants tau_m in milliseconds, each confined to the same bounds.

    ``tau = low + (high - low) sigmoid(raw)``, so any optimiser step leaves tau inside the bounds (paper, appendix A).
    """

    def __init__(
        self,
        count: int,
        range_ms: tuple[float, float],
        bounds_ms: tuple[float, float],
        spacing: str,
        learn: bool,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(learn, bool):
            raise ConfigError(
                f"learn_tau_memory={learn!r} is no answer; expected True (trained) or False (as they start)."
            )
        self.bounds_ms, self.start_ms = bounds_ms, spread(count, range_ms, spacing).tolist()
        self.raw = nn.Parameter(torch.empty(count, dtype=dtype, device=device), requires_grad=learn)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Go back to the time constants at the start."""
        self.raw.copy_(self.unconstrain(torch.tensor(self.start_ms, dtype=torch.float64, device="cpu")))

    def unconstrain(self, tau_ms: Float[Tensor, "memory"]) -> Float[Tensor, "memory"]:
        """The raw parameter that gives these time constants, as closely as the bounds allow."""
        low, high = self.bounds_ms
        inside = ((tau_ms - low) / (high - low)).clamp(_INSET, 1 - _INSET)
        return torch.logit(inside).to(torch.get_default_dtype())

    def forward(self) -> Float[Tensor, "memory"]:
        """Time constants in milliseconds, in single precision at least."""
        low, high = self.bounds_ms
        raw = self.raw.float() if self.raw.dtype in (torch.bfloat16, torch.float16) else self.raw
        return low + (high - low) * torch.sigmoid(raw)


def spread(count: int, range_ms: tuple[float, float], spacing: str) -> Float[Tensor, "memory"]:
    """Time constants from the shortest to the longest, equally spaced or in equal ratios (float64).

    Raises:
        ConfigError: unknown spacing, or a range that is not positive and ascending.
    """
    low, high = range_ms
    if not 0 < low <= high:
        raise ConfigError(
            f"tau_memory_ms={range_ms} is not a range of time constants; expected 0 < shortest <= longest, in ms."
        )
    if spacing == "linear":
        return torch.linspace(low, high, count, dtype=torch.float64, device="cpu")
    if spacing == "log":
        ends = torch.tensor([low, high], dtype=torch.float64, device="cpu").log()
        return torch.linspace(float(ends[0]), float(ends[1]), count, dtype=torch.float64, device="cpu").exp()
    raise ConfigError(
        f"tau_spacing={spacing!r} is not known; expected one of {SPACINGS}.{closest(spacing, SPACINGS)}"
    )
