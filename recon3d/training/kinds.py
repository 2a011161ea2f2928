"""What can be trained: the configuration and the function of each kind, named by `kind:` in a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from recon3d.config import apply_overrides, read_recipe, validate
from recon3d.errors import ConfigError
from recon3d.faults import did_you_mean
from recon3d.training.config import TrainingSettings

KINDS = {
    "denoiser": ("recon3d.training.config:TrainConfig", "recon3d.training.denoising:train_denoiser"),
    "interpolator": (
        "recon3d.training.interpolation_config:InterpolatorConfig",
        "recon3d.training.interpolation:train_interpolator",
    ),
    "reconstructor": (
        "recon3d.training.reconstructor_config:TrainReconstructorConfig",
        "recon3d.training.reconstruction:train_reconstructor",
    ),
}


def read_training(config: str | Path, overrides: Sequence[str] = ()) -> TrainingSettings:
    """The validated configuration of a training from a recipe and overrides.

    Raises
    ------
    ConfigError
        With one clause per fault.
    """
    name, content = read_recipe(config)
    content = apply_overrides(content, overrides)
    kind = str(content.get("kind", "denoiser"))
    if kind not in KINDS and content.get("task", "train") == "train":
        hint = did_you_mean(kind, KINDS)
        raise ConfigError(f"{name}: kind '{kind}' cannot be trained{hint}: expected {' or '.join(KINDS)}.")
    return cast(TrainingSettings, validate(_named(KINDS.get(kind, KINDS["denoiser"])[0]), content, name))


def run(config: TrainingSettings, *, resume: bool = True) -> Path:
    """Train what a configuration describes and return the model file."""
    for settings, function in KINDS.values():
        if isinstance(config, _named(settings)):
            return cast(Path, _named(function)(config, resume=resume))
    raise TypeError(f"Expected the configuration of a training, got {type(config).__name__}.")


def _named(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)
