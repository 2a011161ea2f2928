"""What a resume needs: network, AdamW, EMA and counters; it knows nothing of the data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from recon3d.errors import ConfigError, InputError
from recon3d.priors.files import write_atomically
from recon3d.priors.networks import channels_last
from recon3d.priors.slices import fast_dtype
from recon3d.training.config import TrainingSettings

Say = Callable[..., None]
"""say(message, **numbers): on the screen and into log.jsonl."""


class Objective(Protocol):
    """What a training optimises and what it shows of it.

    Attributes
    ----------
    network : with its first weights
    fingerprint : what a resumed training must share with its beginning; budgets may be lengthened
    summary : the data in a few words, for the log
    model : the file that `export` writes
    """

    @property
    def network(self) -> nn.Module: ...

    fingerprint: str
    summary: str
    model: Path

    def batch(self, step: int, part: int) -> Any:
        """What the loss takes; it depends on (seed, step, part) alone. `part` counts ranks and accumulation."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        ...

    def export(self, state: TrainingState, say: Say) -> None:
        """Write the model as it stands (EMA), its scores and pictures."""
        ...


class TrainingState:
    """Network, optimiser, EMA and counters, in one flat dict of tensors on disk.

    Parameters
    ----------
    objective : what is trained
    settings : optimiser, budget, device
    """

    def __init__(self, objective: Objective, settings: TrainingSettings, rank: int = 0, world: int = 1) -> None:
        self.objective, self.settings, self.rank, self.world = objective, settings, rank, world
        self.device = torch.device(settings.device)
        self.network = channels_last(objective.network.to(self.device))
        self.names = [name for name, _ in self.network.named_parameters()]
        self.parameters = list(self.network.parameters())
        self.ema = [parameter.detach().clone() for parameter in self.parameters]
        optimiser = settings.optimiser
        decayed = [parameter for parameter in self.parameters if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": optimiser.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=optimiser.learning_rate, betas=(0.9, 0.99), foreach=True)
        self.compute_dtype = fast_dtype(self.device) if settings.half else None
        self.step = 0
        self.elapsed_s = 0.0

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0..1."""
        budget = self.settings.budget
        share = self.step / budget.steps
        return share if budget.minutes is None else max(share, self.elapsed_s / (60 * budget.minutes))

    @property
    def done(self) -> bool:
        return self.progress >= 1

    def agree(self, stop: bool) -> bool:
        """Whether any rank was told to stop; also brings all ranks to one clock, which the learning rate may follow."""
        if self.world > 1:
            both = torch.tensor([self.elapsed_s, float(stop)], dtype=torch.float64, device=self.device)
            dist.all_reduce(both, dist.ReduceOp.MAX)
            self.elapsed_s, stop = float(both[0]), bool(both[1])
        return stop

    @property
    def learning_rate(self) -> float:
        settings = self.settings.optimiser
        warm = min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        rest = max(0.0, 1 - self.progress)
        factor = {
            "cosine": 0.5 * (1 - math.cos(math.pi * rest)),
            "linear": rest,
            "sqrt": 1 - math.sqrt(1 - rest),
            "none": 1.0,
        }
        return settings.learning_rate * warm * factor[settings.decay]

    def train_step(self) -> float:
        """One update; every random number is keyed by (seed, step, part)."""
        start = time.perf_counter()
        settings = self.settings.optimiser
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for turn in range(settings.accumulate):
            batch = self.objective.batch(self.step, turn * self.world + self.rank)
            dtype = self.compute_dtype or torch.bfloat16
            with torch.autocast(self.device.type, dtype=dtype, enabled=self.compute_dtype is not None):
                loss = self.objective.loss(batch) / settings.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if self.world > 1:
            self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate
        self.optimiser.step()
        self.step += 1
        weight = 1 - min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, [parameter.detach() for parameter in self.parameters], weight)
        self.elapsed_s += time.perf_counter() - start
        return total

    def averaged(self) -> dict[str, Tensor]:
        """The EMA weights by name."""
        return dict(zip(self.names, self.ema, strict=True))

    def save(self, path: Path) -> None:
        """Write weights, their average, the optimiser and the step as safetensors, whole or not at all."""
        tensors = {}
        for name, parameter, average in zip(self.names, self.parameters, self.ema, strict=True):
            tensors[f"net.{name}"], tensors[f"ema.{name}"] = parameter.detach(), average
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        record = {"step": str(self.step), "elapsed_s": repr(self.elapsed_s), "config": self.objective.fingerprint}
        write_atomically(path, save_tensors(tensors, metadata=record))

    def load(self, path: Path) -> None:
        """Go on from a file of `save`; one of another configuration is refused (ConfigError)."""
        try:
            with safe_open(path, framework="pt") as file:
                record = file.metadata() or {}
                if record.get("config") != self.objective.fingerprint:
                    raise ConfigError(
                        f"{path} belongs to a training of another network, data or optimiser; "
                        "choose another work folder or remove it."
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"The checkpoint {path} cannot be read ({error}); remove it to start over.") from error
        self.step, self.elapsed_s = int(record["step"]), float(record["elapsed_s"])
        with torch.no_grad():
            for name, parameter, average in zip(self.names, self.parameters, self.ema, strict=True):
                parameter.copy_(tensors[f"net.{name}"])
                average.copy_(tensors[f"ema.{name}"])
                if self.step:
                    self.optimiser.state[parameter] = {
                        "step": tensors[f"adam.step.{name}"],
                        **{
                            key: torch.empty_like(parameter).copy_(tensors[f"adam.{key}.{name}"])
                            for key in ("exp_avg", "exp_avg_sq")
                        },
                    }

    def _average_gradients(self) -> None:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient) / self.world)
            start += gradient.numel()
