"""The plan of a case: all that is decided before the first iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon3d.acquisitions import ultrasound
from recon3d.acquisitions.ct_checks import doubts
from recon3d.config import EvidenceConfig, ReconstructConfig, parse_bytes
from recon3d.errors import ConfigError, DeviceError, MissingPackageError
from recon3d.grid import AffineGrid
from recon3d.io.inspect import dead_coils
from recon3d.io.stored import stored_scan
from recon3d.methods import make_method
from recon3d.methods.base import Method
from recon3d.methods.roles import misfits, settled
from recon3d.preprocessing.pipeline import ASSUMED, sentences
from recon3d.preprocessing.truncation import truncation_told
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem, problem_for
from recon3d.runtime.device import choose_device, set_threads
from recon3d.runtime.evidence import affordable
from recon3d.runtime.memory import MEBI, MemoryPlan, free_memory, plan_memory
from recon3d.runtime.record import fingerprint, named_files, run_key
from recon3d.runtime.scans import load_scan, support_of
from recon3d.runtime.streamed import StreamedProblem, can_stream, is_large, streamed_problem
from recon3d.runtime.traces import hidden_traces
from recon3d.scan import Scan


@dataclass(frozen=True)
class MadeOf:
    """What decides the numbers of a result.

    Parameters
    ----------
    input : SHA-256 of the input
    files : those of the files that the configuration names, by setting
    key : of all of it, with configuration, weights and version
    """

    input: str
    files: Mapping[str, str]
    key: str


@dataclass(frozen=True)
class CasePlan:
    """All that is decided before the first iteration.

    Parameters
    ----------
    scan, problem, method, models : what will be solved, and by what; of a streamed scan a few slices
    memory : slabs and micro-batch
    made_of : identifies the run, for resuming it and for skipping it once it is done
    reason : why this method, where it was chosen by method 'auto'
    misfits : in which ways the scan is unlike what a forced model was trained on
    evidence : what will lie beside the result
    """

    scan: Scan
    problem: Problem
    method: Method
    models: Mapping[str, Any]
    memory: MemoryPlan
    threads: int
    device: str
    made_of: MadeOf
    reason: str = ""
    misfits: Sequence[str] = ()
    evidence: EvidenceConfig | None = None

    def told(self) -> list[str]:
        """What was done to the scan before, assumed of it, and what can hardly be right; for the record."""
        return [*self._prepared(), *(f"assumed: {line}" for line in self._assumed()), *self._doubts()]

    def _prepared(self) -> list[str]:
        dead = ", ".join(map(str, dead_coils(self.scan)))
        return [*sentences(self.scan), *([f"coil {dead} holds no signal, so it is left out"] if dead else [])]

    def _assumed(self) -> list[str]:
        return sentences(self.scan, ASSUMED)

    def _doubts(self) -> list[str]:
        return [*doubts(self.scan), *truncation_told(self.scan)]

    @property
    def projector(self) -> str:
        """Which CT projector computes, and why; empty for other scans."""
        return str(getattr(self.problem.A, "chosen", ""))

    def warnings(self) -> list[str]:
        """What a person should know before the first iteration."""
        forced = [f"Warning: {misfit}; what the image shows may be the prior's alone." for misfit in self.misfits]
        doubtful = [f"Warning: {line}." for line in ultrasound.doubts(self.scan)]
        told = [*([self.reason] if self.reason else []), *forced, *doubtful]
        if self.method.roles and not self.method.prepares and self.evidence is None:
            told.append("No evidence beside the result: for that the whole volume has to fit into the memory.")
        return told

    def lines(self) -> list[str]:
        """The plan for a person."""
        memory = self.memory
        slices = self.problem.domain.shape[-3]
        return [
            f"scan     {self.problem.source.stored if isinstance(self.problem, StreamedProblem) else self.scan}",
            *(f"prepared {line}" for line in self._prepared()),
            *(f"assumed  {line}" for line in self._assumed()),
            *(f"doubt    {line}" for line in self._doubts()),
            f"grid     {_describe_grid(self.problem)}",
            f"output   {self.problem.output[0]}",
            f"method   {self.method.name}  "
            + "  ".join(f"{k}={v}" for k, v in self.method.model_dump(mode="json").items()),
            *(f"model    {role}: {model.card.name}" for role, model in self.models.items()),
            *(f"note     {line}" for line in self.warnings()),
            f"compute  {self.device}, {self.threads} threads, {memory.told(slices)}",
            *([f"rays     {self.projector}"] if self.projector else []),
            f"memory   about {memory.forecast / MEBI:.0f} MiB of {memory.limit / MEBI:.0f} MiB allowed, the "
            f"process {memory.host / MEBI:.0f} MiB",
        ]


def plan_case(path: Path, config: ReconstructConfig) -> CasePlan:
    """Decide everything about a case without reconstructing it: what `--dry-run` shows."""
    device = choose_device(config.run.device)
    threads = set_threads(config.run.threads)
    asked = make_method(config.method.name, config.method.settings)
    make = _problem(path, config, asked)
    try:
        problem, scan = make(device)
    except (DeviceError, MissingPackageError):
        if config.run.device != "auto" or device == "cpu":
            raise
        device = "cpu"  # this scan has no version for the GPU
        problem, scan = make(device)
    if (config.complex or config.phase) and not problem.domain.is_complex:
        raise ConfigError(
            f"'complex' and 'phase' are for complex images, that of '{scan.name}' is real: leave them out."
        )
    method, models, reason = settled(asked, problem, config.models, force=config.force_prior)
    networks = {role: model.bytes_per_slice(problem.domain.shape[-2:]) for role, model in models.items()}
    alone = [role for role, model in models.items() if isinstance(model, Reconstructor)]  # see a slice at a time
    at_once = max((size for role, size in networks.items() if role not in alone), default=0)
    single = max((networks[role] for role in alone), default=0)
    memory = plan_memory(problem, method, _limit(config, device), config.run.micro_batch, at_once, single)
    input_hash, plain = fingerprint(path), config.model_dump(mode="json")
    files = named_files(plain)
    decisive = {**plain, "settled": method.model_dump(mode="json")}
    key = run_key(input_hash, decisive, files, {role: model.card.sha256 for role, model in models.items()})
    forced = [misfit for model in models.values() for misfit in misfits(model.card, problem, method)]
    evidence = affordable(config.evidence, problem, method, memory)
    made_of = MadeOf(input_hash, files, key)
    return CasePlan(scan, problem, method, models, memory, threads, device, made_of, reason, forced, evidence)


def _problem(path: Path, config: ReconstructConfig, method: Method) -> Callable[[str], tuple[Problem, Scan]]:
    """What makes the problem on a device, and the scan by which it is described: all of it, or of a scan that stays in
    its file some slices."""
    stored = stored_scan(path) if config.source is None and not config.read else None
    limit = parse_bytes(config.run.max_memory) if config.run.max_memory is not None else int(0.9 * free_memory())
    if stored is not None and is_large(stored, limit) and can_stream(stored, config, method):
        return lambda device: streamed_problem(stored, config, device, limit)
    scan = load_scan(path, config)
    support = support_of(scan, config.scan.support)
    if config.evidence.hold_out:  # what cannot be hidden is refused before any work
        hidden_traces(scan, config.evidence.hold_out, config.evidence.hold_out_side, config.run.seed)
    return lambda device: (problem_for(scan, device=device, support=support), scan)


def _limit(config: ReconstructConfig, device: str) -> int | None:
    """Bytes that the run may take where it computes; None: what is free of the machine's memory."""
    if device == "cpu":
        return parse_bytes(config.run.max_memory) if config.run.max_memory is not None else None
    if config.run.max_gpu_memory is not None:
        return parse_bytes(config.run.max_gpu_memory)
    import torch

    return int(0.9 * torch.cuda.mem_get_info(device)[0])


def _describe_grid(problem: Problem) -> str:
    grid = problem.grid
    if isinstance(grid, AffineGrid):
        return f"{grid.shape} voxels (z, y, x) of " + " x ".join(f"{v:g}" for v in grid.voxel_mm) + " mm"
    return f"{type(grid).__name__} {grid.shape}"
