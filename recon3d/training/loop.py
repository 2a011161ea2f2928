"""The loop that every training shares: torchrun, log, checkpoints, signals, a step or time budget."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from recon3d.errors import InputError, Interrupted
from recon3d.training.config import TrainingSettings
from recon3d.training.state import Objective, Say, TrainingState


def run_training(
    settings: TrainingSettings, objective: Callable[[Say, int, int], Objective], *, resume: bool = True
) -> Path:
    """Train until the budget is used and return the model file.

    The folder `work` keeps `checkpoint.safetensors` and `log.jsonl`. Started again with the same configuration it goes
    on from the checkpoint; with one thread and a step budget the result has the same bits as an unbroken run (a time
    budget ties the decay to the clock).

    Parameters
    ----------
    objective : of (say, rank, number of ranks); prepares the data

    Raises
    ------
    ConfigError, InputError
        A configuration unlike the one of the checkpoint, unreadable data, a loss that is not finite.
    Interrupted
        After SIGINT or SIGTERM, with the checkpoint written.
    """
    torch.set_num_threads(settings.threads)
    rank, world = _join_group(settings)
    lead = rank == 0
    say: Say = Log(settings.work) if lead else _quiet
    task = objective(say, rank, world)
    state = TrainingState(task, settings, rank, world)
    checkpoint = settings.work / "checkpoint.safetensors"
    if resume and checkpoint.exists():
        state.load(checkpoint)
        say(f"resumed at step {state.step}, {state.elapsed_s / 60:.1f} minutes in")
    say(
        f"{sum(p.numel() for p in state.parameters) / 1e6:.2f} M parameters, {world} process(es), "
        f"{settings.threads} thread(s), {task.summary}"
    )

    losses: list[float] = []
    saved = validated = shown = state.elapsed_s
    with _stop_flag() as stop:
        while not state.agree(stop.is_set()) and not state.done:
            losses.append(state.train_step())
            if not math.isfinite(losses[-1]):
                raise InputError(f"The loss is not finite at step {state.step}; lower optimiser.learning_rate.")
            if not lead:
                continue
            if state.elapsed_s - shown > 20 or state.done:
                say(_status(state, losses), step=state.step, loss=float(np.mean(losses)), elapsed_s=state.elapsed_s)
                losses, shown = [], state.elapsed_s
            if state.elapsed_s - saved > settings.budget.checkpoint_s:
                state.save(checkpoint)
                saved = state.elapsed_s
            if state.elapsed_s - validated > settings.budget.validate_s:
                task.export(state, say)
                validated = state.elapsed_s
        if lead:
            state.save(checkpoint)
    if lead and state.done:
        task.export(state, say)
    if world > 1:
        dist.destroy_process_group()
    if not state.done:
        raise Interrupted(f"Training stopped at step {state.step}; start it again to go on.")
    return task.model


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


def _join_group(config: TrainingSettings) -> tuple[int, int]:
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
