"""The training loop: AdamW, EMA, bfloat16, torchrun, a step or time budget, and resume to the same bits."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from recon3d.errors import ConfigError, InputError, Interrupted
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.model import save_model, write_atomically
from recon3d.priors.networks import build_network
from recon3d.priors.slices import fast_dtype
from recon3d.training.config import TrainConfig
from recon3d.training.data import Patches, held_out_slices, prepare_bank
from recon3d.training.loss import denoising_loss, draw_sigma, pair_noise
from recon3d.training.sheets import draw_denoising, draw_loss, draw_samples, psnr_table

SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def train(config: TrainConfig, *, resume: bool = True) -> Path:
    """Train a 2D denoiser and return its model file, ``<work>/<name>.safetensors``.

    The folder `work` also keeps the bank, `checkpoint.safetensors`, `log.jsonl`, `loss.png`, `denoising.png` and
    `samples.png`. Started again with the same configuration it goes on from the checkpoint; with one thread and a step
    budget the result has the same bits as an unbroken run (a time budget ties the decay to the clock).

    Raises
    ------
    ConfigError, InputError
        A configuration unlike the one of the checkpoint, unreadable data, a loss that is not finite.
    Interrupted
        After SIGINT or SIGTERM, with the checkpoint written.
    """
    torch.set_num_threads(config.threads)
    rank, world = _join_group(config)
    lead = rank == 0
    say: Callable[..., None] = Log(config.work) if lead else _quiet
    bank = config.work / "bank"
    card = config.card
    channels = 2 if card.complex_image else 1
    settings = (config.data, _card(config).normalization, card.units, bank, say)
    if lead:
        prepare_bank(*settings, complex_image=card.complex_image)
    if world > 1:
        dist.barrier()
    sources = prepare_bank(*settings, complex_image=card.complex_image)
    held_out, sources[0] = sources[0][-config.data.held_out :], sources[0][: -config.data.held_out]
    if not sources[0]:
        raise ConfigError(f"Expected more than {config.data.held_out} volumes in the first source, all are held out.")
    patches = Patches(sources, config.data, config.seed, channels)
    validation = held_out_slices(held_out, *config.data.validation, channels)

    state = TrainingState(config, rank, world)
    checkpoint = config.work / "checkpoint.safetensors"
    if resume and checkpoint.exists():
        state.load(checkpoint)
        say(f"resumed at step {state.step}, {state.elapsed_s / 60:.1f} minutes in")
    say(
        f"{sum(p.numel() for p in state.denoiser.parameters()) / 1e6:.2f} M parameters, {world} process(es), "
        f"{config.threads} thread(s), bank of {sum(len(files) for files in sources)} volumes"
    )

    losses: list[float] = []
    saved = validated = shown = state.elapsed_s
    with _stop_flag() as stop:
        while not state.agree(stop.is_set()) and not state.done:
            losses.append(state.train_step(patches))
            if not math.isfinite(losses[-1]):
                raise InputError(f"The loss is not finite at step {state.step}; lower optimiser.learning_rate.")
            if not lead:
                continue
            if state.elapsed_s - shown > 20 or state.done:
                say(_status(state, losses), step=state.step, loss=float(np.mean(losses)), elapsed_s=state.elapsed_s)
                losses, shown = [], state.elapsed_s
            if state.elapsed_s - saved > config.budget.checkpoint_s:
                state.save(checkpoint)
                saved = state.elapsed_s
            if state.elapsed_s - validated > config.budget.validate_s:
                _export(state, validation, say)
                validated = state.elapsed_s
        if lead:
            state.save(checkpoint)
    model = config.work / f"{card.name}.safetensors"
    if lead and state.done:
        _export(state, validation, say)
    if world > 1:
        dist.destroy_process_group()
    if not state.done:
        raise Interrupted(f"Training stopped at step {state.step}; start it again to go on.")
    return model


class TrainingState:
    """Network, optimiser, EMA and counters: all that a resume needs, in one flat dict of tensors."""

    def __init__(self, config: TrainConfig, rank: int = 0, world: int = 1) -> None:
        self.config, self.rank, self.world = config, rank, world
        self.device = torch.device(config.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = build_network(config.architecture)
        denoiser = EDMDenoiser(network, config.sigma_data, config.mean)
        self.denoiser = denoiser.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names = [name for name, _ in self.denoiser.named_parameters()]
        self.parameters = list(self.denoiser.parameters())
        self.ema = [parameter.detach().clone() for parameter in self.parameters]
        settings = config.optimiser
        decayed = [parameter for parameter in self.parameters if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99), foreach=True)
        self.compute_dtype = fast_dtype(self.device) if config.half else None
        self.step = 0
        self.elapsed_s = 0.0

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0..1."""
        budget = self.config.budget
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
        settings = self.config.optimiser
        warm = min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        rest = max(0.0, 1 - self.progress)
        factor = {
            "cosine": 0.5 * (1 - math.cos(math.pi * rest)),
            "linear": rest,
            "sqrt": 1 - math.sqrt(1 - rest),
            "none": 1.0,
        }
        return settings.learning_rate * warm * factor[settings.decay]

    def train_step(self, patches: Patches) -> float:
        """One update; every random number is keyed by (seed, step, part)."""
        start = time.perf_counter()
        settings = self.config.optimiser
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for turn in range(settings.accumulate):
            part = turn * self.world + self.rank
            images = patches.batch(self.step, part).to(self.device)
            random = np.random.default_rng([self.config.seed, self.step, 3, part])
            sigma = draw_sigma(self.config.noise, len(images), random).to(self.device)
            generator = torch.Generator().manual_seed(int(random.integers(2**63)))
            noise = torch.randn(images.shape, generator=generator).to(self.device)
            if self.config.noise.immiscible:
                noise = pair_noise(images, noise)
            dtype = self.compute_dtype or torch.bfloat16
            with torch.autocast(self.device.type, dtype=dtype, enabled=self.compute_dtype is not None):
                loss = denoising_loss(self.denoiser, images, noise, sigma) / settings.accumulate
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
            torch._foreach_lerp_(self.ema, self.parameters, weight)
        self.elapsed_s += time.perf_counter() - start
        return total

    def averaged(self) -> EDMDenoiser:
        """A denoiser with the EMA weights."""
        denoiser = EDMDenoiser(build_network(self.config.architecture), self.config.sigma_data, self.config.mean)
        denoiser.load_state_dict(dict(zip(self.names, self.ema, strict=True)))
        return denoiser.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def save(self, path: Path) -> None:
        tensors = {}
        for name, parameter, average in zip(self.names, self.parameters, self.ema, strict=True):
            tensors[f"net.{name}"], tensors[f"ema.{name}"] = parameter.detach(), average
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        record = {"step": str(self.step), "elapsed_s": repr(self.elapsed_s), "config": _fingerprint(self.config)}
        write_atomically(path, save_tensors(tensors, metadata=record))

    def load(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                record = file.metadata() or {}
                if record.get("config") != _fingerprint(self.config):
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


class Log:
    """Says things on the screen and keeps them, with numbers, in log.jsonl."""

    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.path = work / "log.jsonl"

    def __call__(self, message: str, **numbers: float) -> None:
        print(message, flush=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"message": message, **numbers}) + "\n")


def _quiet(message: str, **numbers: float) -> None:
    pass


def _status(state: TrainingState, losses: list[float]) -> str:
    rest_s = state.elapsed_s * (1 - state.progress) / max(state.progress, 1e-9)
    return (
        f"step {state.step}  loss {np.mean(losses):.4f}  rate {state.learning_rate:.2e}  "
        f"{state.elapsed_s / max(state.step, 1):.3f} s/step  {rest_s / 60:.1f} min left"
    )


def _export(state: TrainingState, validation: Tensor, say: Callable[..., None]) -> None:
    """Write the model as it stands (EMA), its PSNR table and the pictures."""
    config = state.config
    denoiser = state.averaged()
    table = psnr_table(denoiser, validation.to(state.device), SIGMAS, state.compute_dtype)
    text = "  ".join(f"{sigma:g}: {psnr:.2f}" for sigma, psnr in table.items())
    say("held-out PSNR in dB (range 1) by sigma   " + text, step=state.step)
    record = {
        "steps": state.step,
        "minutes": round(state.elapsed_s / 60, 2),
        "held_out_psnr_db": {f"{sigma:g}": round(psnr, 2) for sigma, psnr in table.items()},
        "recipe": config.model_dump(mode="json", exclude={"work", "card", "architecture", "device", "threads"}),
    }
    card = _card(config).model_copy(update={"training": record})
    save_model(config.work / f"{config.card.name}.safetensors", card, denoiser)
    draw_loss(config.work / "log.jsonl", config.work / "loss.png")
    draw_denoising(
        denoiser, validation.to(state.device), config.work / "denoising.png", state.compute_dtype, config.window
    )
    draw_samples(
        denoiser,
        config.noise.sigma_min,
        config.noise.sigma_max,
        config.work / "samples.png",
        state.compute_dtype,
        window=config.window,
        channels=validation.shape[1],
        seed=config.seed,
        side=config.data.validation[1],
        device=state.device,
    )


def _card(config: TrainConfig) -> Card:
    return Card(
        **config.card.model_dump(),
        sigma_min=config.noise.sigma_min,
        sigma_max=config.noise.sigma_max,
        sigma_data=config.sigma_data,
        mean=config.mean,
        architecture=config.architecture,
    )


def _fingerprint(config: TrainConfig) -> str:
    """What a resumed training must share with its beginning; budgets may be lengthened."""
    settings = config.model_dump(mode="json", exclude={"work", "budget", "threads", "device", "card"})
    settings["data"].pop("workers")
    settings["data"].pop("validation")
    return json.dumps(settings, sort_keys=True)


def _join_group(config: TrainConfig) -> tuple[int, int]:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    dist.init_process_group("nccl" if config.device.startswith("cuda") else "gloo")
    if config.device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return dist.get_rank(), world


@contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """A flag that SIGINT and SIGTERM raise, so that a step is finished and saved before the end."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
