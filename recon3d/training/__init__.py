"""Training of models: data, losses, loop; `train(config)` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from recon3d.training.config import TrainConfig, TrainingSettings

__all__ = ["TrainConfig", "train"]


def train(config: TrainingSettings, *, resume: bool = True) -> Path:
    """Train what the configuration describes and return the model file; see `recon3d.training.loop.run_training`."""
    from recon3d.training.config import TrainConfig

    if isinstance(config, TrainConfig):
        from recon3d.training.denoising import train_denoiser

        return train_denoiser(config, resume=resume)
    from recon3d.training.reconstruction import train_reconstructor
    from recon3d.training.reconstructor_config import TrainReconstructorConfig

    assert isinstance(config, TrainReconstructorConfig)
    return train_reconstructor(config, resume=resume)


def __getattr__(name: str) -> Any:
    if name == "TrainConfig":
        from recon3d.training.config import TrainConfig

        return TrainConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
