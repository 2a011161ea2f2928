"""Training of priors: banks of volumes, loss, loop; `train(config)` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon3d.training.config import TrainConfig
    from recon3d.training.loop import train

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str) -> Any:
    if name == "TrainConfig":
        from recon3d.training.config import TrainConfig

        return TrainConfig
    if name == "train":
        from recon3d.training.loop import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
