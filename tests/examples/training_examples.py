"""A recipe that trains in a second on the store of an integrator, and what to compare of its runs."""

import torch

from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.run import Run


def make_recipe(store, **training) -> SurrogateRecipe:
    defaults = {
        "steps": 60,
        "validate_every": 20,
        "checkpoint_every": 10,
        "log_every": 7,
        "learning_rate": 5e-3,
    }
    return SurrogateRecipe.model_validate(
        {
            "name": "test",
            "model": {"memory": 5, "tau_memory_ms": [1.0, 50.0], "learn_tau_memory": True},
            "data": {
                "train": f"{store}[:12]", "validation": f"{store}[12:]", "window_ms": 200, "burn_in_ms": 50,
            },
            "training": defaults | training,
        }
    )  # fmt: skip


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.load_state()["model"]


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))
