"""From what a person gives to jobs: which cases, with which settings, where they run and where results go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon3d.batch import tables
from recon3d.batch.cases import Case, find_cases, left_aside, reads_volumes
from recon3d.batch.engine import Batch
from recon3d.batch.jobs import Job
from recon3d.batch.pool import InProcess, Pool
from recon3d.batch.worker import Tell
from recon3d.config import ReconstructConfig, apply_overrides, read_recipe, validate
from recon3d.errors import ConfigError, InputError
from recon3d.io import segy
from recon3d.io.formats import writer_for
from recon3d.runtime.device import allotted_cores
from recon3d.runtime.memory import free_memory

TOLD_FAULTS = 5


@dataclass(frozen=True)
class Placement:
    """Where cases run.

    Parameters
    ----------
    workers : processes of this machine or jobs of a queue; of a scheduler it has as many as it has
    scheduler : address of one that runs, or None
    queue : one of `recon3d.batch.cluster.QUEUES`, or None
    options : of its jobs, ``key=value``
    """

    workers: int = 1
    scheduler: str | None = None
    queue: str | None = None
    options: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        return self.scheduler is None and self.queue is None

    def shared(self, config: ReconstructConfig) -> ReconstructConfig:
        """The configuration with a worker's share of the threads and the memory of this machine, unless it says so."""
        if not self.is_local or self.workers == 1:
            return config
        run = config.run
        threads = run.threads or max(1, allotted_cores() // self.workers)
        memory = run.max_memory or str(int(0.9 * free_memory() / self.workers))
        return config.model_copy(update={"run": run.model_copy(update={"threads": threads, "max_memory": memory})})

    def pool_for(self, batch: Batch) -> Callable[[Tell], Pool]:
        """What makes the pool of a batch."""
        from recon3d.batch import cluster

        run = batch.jobs[0].config["run"]
        if self.scheduler is not None:
            connect, where = cluster.at_scheduler(self.scheduler), f"The scheduler at {self.scheduler}"
        elif self.queue is not None:
            if self.queue not in cluster.QUEUES:
                raise ConfigError(f"--cluster is one of {', '.join(cluster.QUEUES)}, got '{self.queue}'.")
            options = apply_overrides({}, self.options)
            connect = cluster.in_queue(self.queue, self.workers, run["threads"], options)
            where = f"The scheduler of the {self.queue} jobs"
        elif self.workers == 1:
            return InProcess
        else:
            gpus = cluster.visible_gpus() if run["device"] in ("auto", "cuda") else []
            connect = cluster.on_this_machine(self.workers, run["threads"], gpus)
            where = "The scheduler of the local workers"
        return lambda tell: cluster.DaskPool(tell, connect, where)


def prepared(
    source: Path,
    output: Path | None,
    recipe: str,
    overrides: Sequence[str],
    place: Placement,
    *,
    suffix: str | None = None,
    overwrite: bool = False,
    plan_only: bool = False,
) -> tuple[Batch, str]:
    """The batch of a folder or a table, and what of the folder was left aside, in words.

    Raises
    ------
    InputError, ConfigError
        If there is no case, or the settings of a case are wrong; several such faults are told at once.
    """
    name, content = read_recipe(recipe)
    content = apply_overrides(content, overrides)
    validate(ReconstructConfig, content, name)
    cases, aside = _cases(source, content, output)
    folder = output if output is not None else source.resolve().with_name(f"{_plain_name(source)}-recon3d")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output {folder} is a file: give the name of a folder.")
    if suffix is not None:
        writer_for(f"result{suffix}")
    jobs: list[Job] = []
    faults: list[str] = []
    for case in cases:
        try:
            own = validate(ReconstructConfig, apply_overrides(content, case.overrides), name)
        except ConfigError as error:
            faults.append(f"Case {case.name}: {error}")
            continue
        target = case.output(folder, suffix or (".sgy" if segy.matches(case.input) else ".nii.gz"))
        config = place.shared(own).model_dump(mode="json")
        jobs.append(Job(case.name, str(case.input.resolve()), str(target.absolute()), config, overwrite, plan_only))
    if faults:
        more = f" And {len(faults) - TOLD_FAULTS} cases more." if len(faults) > TOLD_FAULTS else ""
        raise ConfigError(" ".join(faults[:TOLD_FAULTS]) + more)
    return Batch(folder.absolute(), cases, jobs), aside


def _cases(source: Path, content: dict[str, Any], output: Path | None) -> tuple[list[Case], str]:
    if source.is_dir():
        restores = reads_volumes(content)
        found = find_cases(source, restores=restores, mapped=content.get("source") is not None, skip=output)
        return found.cases, left_aside(found)
    if source.suffix.lower() not in tables.SUFFIXES:
        raise InputError(f"{source} is no folder and no table: expected {', '.join(tables.SUFFIXES)}.")
    if not source.is_file():
        raise InputError(f"There is no file or folder {source}.")
    return tables.read_table(source), ""


def _plain_name(source: Path) -> str:
    return source.resolve().name if source.is_dir() else source.stem
