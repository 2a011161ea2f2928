"""One case, from a file to a file: the way through the house."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import recon3d
from operators.blocks import Blocks
from operators.reduce import norm
from recon3d.config import ReconstructConfig
from recon3d.errors import InputError, MemoryLimitError
from recon3d.io import load, save, segy
from recon3d.io.atomic import check_output
from recon3d.methods.base import Reconstruction
from recon3d.problem import Problem, problem_for
from recon3d.report.checks import check_result
from recon3d.runtime.device import set_threads
from recon3d.runtime.evidence import Evidence, gathered, layers_of
from recon3d.runtime.memory import MEBI, is_out_of_memory, peak_memory
from recon3d.runtime.outputs import (
    beside,
    check_beams,
    check_outputs,
    check_series,
    values_told,
    volumes_of,
    write_result,
)
from recon3d.runtime.plan import CasePlan, plan_case
from recon3d.runtime.preview import LivePreview
from recon3d.runtime.progress import Progress, ProgressReport
from recon3d.runtime.record import sibling, versions
from recon3d.runtime.runner import CaseRun
from recon3d.runtime.slabs import reconstruct_in_slabs
from recon3d.runtime.streamed import StreamedProblem
from recon3d.runtime.traces import hold_out, mask_of
from recon3d.scan import Scan
from recon3d.synthetic.config import SimulateConfig
from recon3d.volume import Volume


def reconstruct_case(
    path: Path,
    output: Path,
    config: ReconstructConfig,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    preview: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Reconstruction:
    """Reconstruct a file into `output`, with `<stem>.recon.json`, `<stem>.png` and `<stem>.html` beside it.

    Of a complex image the magnitude is written unless the configuration says otherwise; what is returned is complex.
    With `preview`, `<stem>.preview.html` shows the run as it goes on. Progress goes to `progress`, or to standard error
    unless `quiet`. Where `stop` is set the run ends after its iteration.

    Raises
    ------
    ReconError
        With one sentence; then no output has been written. After `Interrupted` the same call goes on.
    """
    case = Case(path, output, config, overwrite, preview)
    plan = case.planned()
    if progress is None and not quiet:
        progress = ProgressReport(plan.method.name)
    notes: list[str] = []
    while True:
        try:
            with case.run(plan, progress, stop) as run:
                for line in [*notes, *plan.warnings()]:
                    run.note(line)
                return case.reconstruct(plan, run)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = (str(error).splitlines() or [type(error).__name__])[0]
        # Only here, where the failed attempt is forgotten, its memory is free again.
        smaller = plan.memory.shrunk()
        if smaller is None:
            raise MemoryLimitError(
                f"Out of memory, although {plan.memory.forecast / MEBI:.0f} MiB were planned ({said}): "
                "choose a coarser grid (grid.voxel_mm), or a machine with more."
            )
        plan = replace(plan, memory=smaller)
        slices = plan.problem.domain.shape[-3]
        notes = [f"Out of memory: going on from the last checkpoint with less at a time ({smaller.told(slices)})."]


@dataclass
class Case:
    """A case on its way from a file to a file.

    Parameters
    ----------
    path, output, config : what is asked for
    overwrite : whether results that are there may be replaced
    preview : whether a page shows the run as it goes on
    """

    path: Path
    output: Path
    config: ReconstructConfig
    overwrite: bool = False
    preview: bool = False
    began: float = field(default_factory=time.perf_counter)

    def planned(self) -> CasePlan:
        """The plan; what could not be written after the work is refused before it."""
        output, overwrite = self.output, self.overwrite
        check_outputs(output, overwrite, (".recon.json", ".png", ".html"))
        if self.config.phase:
            check_output(beside(output, "phase"), overwrite)
        plan = plan_case(self.path, self.config)
        for layer in layers_of(plan.evidence) if plan.evidence else ():
            check_output(beside(output, layer), overwrite)
        check_series(plan.problem, output, overwrite)
        check_beams(plan.problem, output, getattr(plan.method, "image", None))
        if plan.scan.kind == "seismic":
            check_output(sibling(output, ".mask.npy"), overwrite)
        return plan

    def run(self, plan: CasePlan, progress: Progress | None, stop: threading.Event | None) -> CaseRun:
        """What surrounds an attempt at the plan, which goes on from the checkpoint beside the output."""
        page = sibling(self.output, ".preview.html")
        return CaseRun(
            seed=self.config.run.seed,
            micro_batch=plan.memory.micro_batch,
            progress=progress,
            checkpoint=sibling(self.output, ".checkpoint"),
            key=plan.made_of.key,
            seconds_between_checkpoints=60 * self.config.run.checkpoint_minutes,
            device=plan.device,
            preview=LivePreview(page, plan.method.name, plan.problem.grid) if self.preview else None,
            stop=stop,
            scratch=self.output.parent if plan.memory.on_disk else None,
        )

    def reconstruct(self, plan: CasePlan, run: CaseRun) -> Reconstruction:
        """Do what is planned, and write all that is to be left."""
        result = reconstruct_in_slabs(plan.problem, plan.method, plan.models, run, plan.memory.slab)
        evidence = Evidence()
        if plan.evidence is not None:
            evidence = gathered(plan.problem, result, plan.models, plan.evidence, run)
        if self.config.evidence.hold_out:
            result = replace(result, facts={**result.facts, **_hold_out(plan, self.config, run)})
        record = self._record(plan, run, result, evidence)
        headers = {"like": self.path, "read_as": self.config.read} if segy.matches(self.path) else None
        live = mask_of(plan.scan) > 0 if plan.scan.kind == "seismic" else None
        volumes = volumes_of(result, self.output, self.config, evidence)
        write_result(result, self.output, record, self.overwrite, volumes, evidence, headers=headers, live=live)
        run.finish(sibling(self.output, ".html"))
        return result

    def _record(self, plan: CasePlan, run: CaseRun, result: Reconstruction, evidence: Evidence) -> dict[str, Any]:
        record = {
            "recon3d": recon3d.__version__,
            "input": {"path": str(self.path), "sha256": plan.made_of.input},
            "files": dict(plan.made_of.files),
            "config": self.config.model_dump(mode="json"),
            "method": {"name": plan.method.name, **plan.method.model_dump(mode="json")},
            "models": {role: model.card.model_dump(include={"name", "sha256"}) for role, model in plan.models.items()},
            "misfits": list(plan.misfits),
            "key": plan.made_of.key,
            "result": {
                "units": result.volume.units,
                "shape": list(result.volume.shape),
                "values": values_told(result.volume, self.config),
                **result.facts,
                **_misfit(plan.problem, result),
            },
            "evidence": dict(evidence.facts),
            "plan": {"threads": plan.threads, "device": plan.device, "projector": plan.projector, **vars(plan.memory)},
            "seconds": round(time.perf_counter() - self.began, 2),
            "peak_memory": peak_memory(),
            "resumed_at": run.resumed_at,
            "notes": [*plan.told(), *run.notes],
            "trace": run.trace,
            "versions": versions(),
            **result.details,
        }
        record["checks"] = [asdict(check) for check in check_result(result.volume, record)]
        return record


def simulate_case(
    path: Path, output: Path, config: SimulateConfig, *, series: str | None = None, overwrite: bool = False
) -> Scan:
    """Simulate the scan of a volume file (or of one of several DICOM `series`) into `output` (native HDF5)."""
    from recon3d.synthetic.simulate import simulate

    check_outputs(output, overwrite)
    set_threads(config.run.threads)
    options = {"units": config.units, "series": series}
    volume = load(path, **{name: value for name, value in options.items() if value is not None})
    if not isinstance(volume, Volume):
        raise InputError(f"{path} holds a scan, not a volume: `recon3d simulate` takes an image, e.g. NIfTI or DICOM.")
    noise = config.noise.model_dump()
    scan = simulate(volume, config.settings, noise=noise, seed=config.run.seed, finer=config.finer)
    save(scan, output, overwrite=overwrite)
    return scan


def _hold_out(plan: CasePlan, config: ReconstructConfig, run: CaseRun) -> dict[str, float]:
    """The score of the same method on traces that are hidden from it."""

    def solve(scan: Scan) -> Volume:
        return plan.method.reconstruct(problem_for(scan, device=plan.device), plan.models, run.aside()).volume

    return hold_out(plan.scan, solve, config.evidence.hold_out, config.evidence.hold_out_side, config.run.seed)


def _misfit(problem: Problem, result: Reconstruction) -> dict[str, float]:
    """Root mean square of the whitened A x - y: near 1 where the image explains the data down to their noise.

    Only for methods that state a residual, so that no other pays for one more projection."""
    shape = tuple(problem.domain.shape)
    if isinstance(problem, StreamedProblem):  # whose data are not at hand
        return {}
    if not problem.noise.is_known or "residual" not in result.facts or result.volume.data.shape != shape:
        return {}
    if "acquisition" in result.details:  # a part of the data was measured, and the others were never looked at
        return {}
    A, y = problem.noise.whiten(problem.A, problem.y)
    gap = A(problem.image(result.volume)) - y
    blocks = y.tensors if isinstance(y, Blocks) else (y,)
    measured = sum(int(block.count_nonzero()) * (2 if block.is_complex() else 1) for block in blocks)
    return {"residual_to_noise": float(norm(gap)) / math.sqrt(max(measured, 1))}
