"""One process by itself trains exactly as Lightning Fabric does, and what it cannot do says what is missing."""

import sys
from importlib import import_module

import pytest
import torch

from ulmus.errors import ConfigError, MissingToolError
from ulmus.training import devices, fit
from ulmus.training.devices import OneProcess, launch
from ulmus.training.kinds import SurrogateRecipe
from ulmus.training.recipe import TrainingSettings


def recipe_for(store) -> SurrogateRecipe:
    return SurrogateRecipe.model_validate(
        {
            "name": "test",
            "model": {"memory": 5, "tau_memory_ms": [1.0, 50.0]},
            "data": {
                "train": f"{store}[:12]",
                "validation": f"{store}[12:]",
                "window_ms": 200,
                "burn_in_ms": 50,
            },
            "training": {
                "steps": 12,
                "validate_every": 6,
                "clip_norm": 0.05,
                "learning_rate": 5e-3,
                "average": 0.5,
            },
        }
    )


def test_one_process_trains_as_fabric_does(integrator_store, tmp_path, monkeypatch):
    pytest.importorskip("lightning_fabric")
    recipe = recipe_for(integrator_store)
    assert isinstance(launch(recipe.training), OneProcess)
    alone = fit(recipe, tmp_path / "alone").load_state()
    monkeypatch.setattr(import_module("ulmus.training.fit"), "launch", devices._fabric)
    with_fabric = fit(recipe, tmp_path / "fabric").load_state()
    assert all(
        torch.equal(alone[part][key], with_fabric[part][key])
        for part in ("model", "averaged")
        for key in alone[part]
    )
    assert alone["position"] == with_fabric["position"]


@pytest.mark.parametrize("settings", [{"devices": 2}, {"accelerator": "gpu"}, {"precision": "bf16-mixed"}])
def test_what_needs_fabric_says_so(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingToolError, match=r"ulmus\[devices\]"):
        launch(TrainingSettings(steps=1, **settings))


def test_a_process_among_several_is_not_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingToolError, match=r"ulmus\[devices\]"):
        launch(TrainingSettings(steps=1))


def test_a_batch_that_devices_cannot_share():
    with pytest.raises(ConfigError, match="cannot be shared"):
        launch(TrainingSettings(steps=1, batch=8, devices=3))
