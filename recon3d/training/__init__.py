"""Training of models: data, losses, loop; `train(config)` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from recon3d.training.config import TrainConfig, TrainingSettings

__all__ = ["TrainConfig", "train"]


def train(config: TrainingSettings, *, resume: bool = True) -> Path:
    """Train what the configuration describes and return the model file; see `recon3d.training.loop.run_training`."""
    from recon3d.training.kinds import run

    return run(config, resume=resume)


def __getattr__(name: str) -> Any:
    if name == "TrainConfig":
        from recon3d.training.config import TrainConfig

        return TrainConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
