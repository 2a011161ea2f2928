"""One case, from a file to a file: the way through the house."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import recon3d
from operators.blocks import Blocks
from operators.reduce import norm
from recon3d.acquisitions import (
    in_frames,
    is_stack_of_slices,
    on_grid,
    select_views,
    still,
    water_attenuation_per_mm,
)
from recon3d.acquisitions.ct_checks import doubts, field_of_view
from recon3d.acquisitions.image import image_scan
from recon3d.acquisitions.mri import split_readout
from recon3d.acquisitions.seismic import fold_of
from recon3d.config import EvidenceConfig, ReconstructConfig, SimulateConfig, parse_bytes
from recon3d.errors import ConfigError, DeviceError, InputError, MissingPackageError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.io import atomic_path, load, save, segy
from recon3d.io.atomic import check_output
from recon3d.io.formats import format_for, writer_for
from recon3d.io.inspect import dead_coils
from recon3d.io.nifti import check_even_times
from recon3d.io.parts import magnitude, phase
from recon3d.methods import make_method
from recon3d.methods.base import Method, Reconstruction
from recon3d.methods.roles import misfits, settled
from recon3d.preprocessing.pipeline import preprocess, sentences
from recon3d.preprocessing.truncation import truncation_told
from recon3d.problem import Problem, problem_for
from recon3d.runtime.device import choose_device, set_threads
from recon3d.runtime.evidence import NOTES, Evidence, affordable, gathered, layers_of
from recon3d.runtime.memory import MEBI, MemoryPlan, peak_memory, plan_memory
from recon3d.runtime.preview import LivePreview
from recon3d.runtime.progress import ProgressReport
from recon3d.runtime.record import fingerprint, run_key, sibling, versions, write_record
from recon3d.runtime.runner import CaseRun
from recon3d.runtime.slabs import reconstruct_in_slabs
from recon3d.scan import Scan
from recon3d.volume import Volume


@dataclass(frozen=True)
class CasePlan:
    """All that is decided before the first iteration.

    Parameters
    ----------
    scan, problem, method, models : what will be solved, and by what
    memory : slabs and micro-batch
    key : identifies the run for resuming
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
    key: str
    input_hash: str
    reason: str = ""
    misfits: Sequence[str] = ()
    evidence: EvidenceConfig | None = None

    def told(self) -> list[str]:
        """What was done to the scan before, what it lacks and what can hardly be right, for the record."""
        dead = ", ".join(map(str, dead_coils(self.scan)))
        return [
            *sentences(self.scan),
            *doubts(self.scan),
            *truncation_told(self.scan),
            *([f"coil {dead} holds no signal, so it is left out"] if dead else []),
        ]

    @property
    def projector(self) -> str:
        """Which CT projector computes, and why; empty for other scans."""
        return str(getattr(self.problem.A, "chosen", ""))

    def warnings(self) -> list[str]:
        """What a person should know before the first iteration."""
        forced = [f"Warning: {misfit}; what the image shows may be the prior's alone." for misfit in self.misfits]
        told = [*([self.reason] if self.reason else []), *forced]
        if self.method.roles and self.evidence is None:
            told.append("No evidence beside the result: for that the whole volume has to fit into the memory.")
        return told

    def lines(self) -> list[str]:
        """The plan for a person."""
        memory = self.memory
        slices = self.problem.domain.shape[-3]
        slabs = "whole" if memory.slab >= slices else f"slabs of {memory.slab} slices"
        return [
            f"scan     {self.scan}",
            *(f"prepared {line}" for line in self.told()),
            f"grid     {_describe_grid(self.problem)}",
            f"output   {self.problem.output[0]}",
            f"method   {self.method.name}  "
            + "  ".join(f"{k}={v}" for k, v in self.method.model_dump(mode="json").items()),
            *(f"model    {role}: {model.card.name}" for role, model in self.models.items()),
            *(f"note     {line}" for line in self.warnings()),
            f"compute  {self.device}, {self.threads} threads, {slabs}"
            + (f", micro-batch {memory.micro_batch}" if self.models else ""),
            *([f"rays     {self.projector}"] if self.projector else []),
            f"memory   about {memory.forecast / MEBI:.0f} MiB of {memory.limit / MEBI:.0f} MiB allowed",
        ]


def load_scan(path: Path, config: ReconstructConfig) -> Scan:
    """The scan in a file, with what the configuration adds to it."""
    known = config.scan
    options = dict(config.read) if config.source is None else {**config.read, "mapping": config.source}
    if known.image is not None and config.source is None and format_for(path)[0] == "dicom":
        options = {"gaps": "nan", **options}  # a missing slice is restored, not refused
    found = load(path, **options)
    if isinstance(found, Volume):
        if known.image is None:
            raise InputError(
                f"{path} holds a volume, not measurements: scan it with `recon3d simulate {path.name} SCAN.h5 --config "
                "ct-parallel` and reconstruct that, or restore it with a recipe such as denoise-tv or thin-slices-tv."
            )
        return _on_grid(image_scan(found, **known.image.model_dump(), noise_std=known.noise_std), config)
    if known.image is not None:
        raise ConfigError(f"scan.image restores a volume, {path} holds a scan of kind '{found.kind}': leave it out.")
    scan = found
    if config.preprocess is not None:
        scan = preprocess(scan, **config.preprocess.model_dump())
    water = known.water_per_mm
    if known.energy_kev is not None:
        water = water_attenuation_per_mm(known.energy_kev)
    if water is not None:
        scan = replace(scan, calibration={**scan.calibration, "water_per_mm": water})
    if known.photons is not None:
        scan = replace(scan, noise={"photons": known.photons})
    if known.noise_std is not None:
        scan = replace(scan, noise={"std": known.noise_std})
    views = known.views
    if views.every != 1 or views.arc_deg is not None or views.start_deg is not None:
        scan = select_views(scan, views.every, views.start_deg, views.arc_deg)
    series = known.series.model_dump(exclude_none=True, exclude_defaults=True)
    if series.pop("still", False):
        scan = still(scan)
    elif series:
        scan = in_frames(scan, **series)
    chosen = known.mri.model_dump(exclude_none=True, exclude_defaults=True)
    if chosen and scan.kind != "mri":
        raise ConfigError(
            f"scan.mri is for MRI, '{scan.name}' is of kind '{scan.kind}': leave {next(iter(chosen))} out."
        )
    if chosen.pop("split_readout", False):
        scan = split_readout(scan)
    if config.run.backend != "auto" and scan.kind == "ct":
        chosen["backend"] = config.run.backend
    scan = replace(scan, acquisition={**scan.acquisition, **chosen})
    return _on_grid(scan, config)


def plan_case(path: Path, config: ReconstructConfig) -> CasePlan:
    """Decide everything about a case without reconstructing it: what `--dry-run` shows."""
    device = choose_device(config.run.device)
    threads = set_threads(config.run.threads)
    scan = load_scan(path, config)
    support = _support(scan, config.scan.support)
    try:
        problem = problem_for(scan, device=device, support=support)
    except (DeviceError, MissingPackageError):
        if config.run.device != "auto" or device == "cpu":
            raise
        device = "cpu"  # this scan has no version for the GPU
        problem = problem_for(scan, device=device, support=support)
    if (config.complex or config.phase) and not problem.domain.is_complex:
        raise ConfigError(
            f"'complex' and 'phase' are for complex images, that of '{scan.name}' is real: leave them out."
        )
    asked = make_method(config.method.name, config.method.settings)
    method, models, reason = settled(asked, problem, config.models, force=config.force_prior)
    network = max((model.bytes_per_slice(problem.domain.shape[-2:]) for model in models.values()), default=0)
    limit = parse_bytes(config.run.max_memory) if config.run.max_memory is not None else None
    memory = plan_memory(problem, method, limit, config.run.micro_batch, network)
    input_hash = fingerprint(path)
    decisive = {**config.model_dump(mode="json"), "settled": method.model_dump(mode="json")}
    key = run_key(input_hash, decisive, {role: model.card.sha256 for role, model in models.items()})
    forced = [misfit for model in models.values() for misfit in misfits(model.card, problem)]
    evidence = affordable(config.evidence, problem, method, memory)
    return CasePlan(scan, problem, method, models, memory, threads, device, key, input_hash, reason, forced, evidence)


def _support(scan: Scan, choice: str | None) -> NDArray[Any] | None:
    """The support that the configuration names: the detector's field of view, or a mask in a volume file."""
    if choice is None or choice == "field-of-view":
        return None if choice is None else field_of_view(scan)
    mask = load(choice)
    if not isinstance(mask, Volume) or mask.data.shape != tuple(scan.grid.shape):
        raise InputError(
            f"scan.support={choice} must be a volume of the result's shape {tuple(scan.grid.shape)}, got {mask!r}: "
            "resample it onto that grid."
        )
    return (mask.data > 0).astype(np.float32)


def check_outputs(output: Path, overwrite: bool, suffixes: Sequence[str] = ()) -> None:
    """Refuse before any work what could not be written after it: the output and its siblings with other suffixes."""
    writer_for(output)
    for path in (output, *(sibling(output, suffix) for suffix in suffixes)):
        check_output(path, overwrite)
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"The folder {output.parent} of the output {output.name} is protected: choose another one.")


def reconstruct_case(
    path: Path,
    output: Path,
    config: ReconstructConfig,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    preview: bool = False,
) -> Reconstruction:
    """Reconstruct a file into `output`, with `<stem>.recon.json`, `<stem>.png` and `<stem>.html` beside it.

    Of a complex image the magnitude is written unless the configuration says otherwise; what is returned is complex.
    With `preview`, `<stem>.preview.html` shows the run as it goes on.

    Raises
    ------
    ReconError
        With one sentence; then no output has been written. After `Interrupted` the same call goes on.
    """
    check_outputs(output, overwrite, (".recon.json", ".png", ".html"))
    if config.phase:
        check_output(_beside(output, "phase"), overwrite)
    began = time.perf_counter()
    plan = plan_case(path, config)
    for layer in layers_of(plan.evidence) if plan.evidence else ():
        check_output(_beside(output, layer), overwrite)
    _check_series(plan.problem, output, overwrite)
    progress = None if quiet else ProgressReport(plan.method.name)
    with CaseRun(
        seed=config.run.seed,
        micro_batch=plan.memory.micro_batch,
        progress=progress,
        checkpoint=sibling(output, ".checkpoint"),
        key=plan.key,
        seconds_between_checkpoints=60 * config.run.checkpoint_minutes,
        device=plan.device,
        preview=LivePreview(sibling(output, ".preview.html"), plan.method.name, plan.problem.grid) if preview else None,
    ) as run:
        for line in plan.warnings():
            run.note(line)
        result = reconstruct_in_slabs(plan.problem, plan.method, plan.models, run, plan.memory.slab)
        evidence = Evidence()
        if plan.evidence is not None:
            evidence = gathered(plan.problem, result, plan.models, plan.evidence, run)
        record = {
            "recon3d": recon3d.__version__,
            "input": {"path": str(path), "sha256": plan.input_hash},
            "config": config.model_dump(mode="json"),
            "method": {"name": plan.method.name, **plan.method.model_dump(mode="json")},
            "models": {role: model.card.model_dump(include={"name", "sha256"}) for role, model in plan.models.items()},
            "misfits": list(plan.misfits),
            "key": plan.key,
            "result": {
                "units": result.volume.units,
                "shape": list(result.volume.shape),
                "values": _values(result.volume, config),
                **result.facts,
                **_misfit(plan.problem, result),
            },
            "evidence": dict(evidence.facts),
            "plan": {"threads": plan.threads, "device": plan.device, "projector": plan.projector, **vars(plan.memory)},
            "seconds": round(time.perf_counter() - began, 2),
            "peak_memory": peak_memory(),
            "notes": [*plan.told(), *run.notes],
            "trace": run.trace,
            "versions": versions(),
            **result.details,
        }
        headers = {"like": path, "read_as": config.read} if segy.matches(path) else None
        live = fold_of(plan.scan) > 0 if plan.scan.kind == "seismic" else None
        volumes = _volumes(result, output, config, evidence)
        write_result(result, output, record, overwrite, volumes, evidence, headers=headers, live=live)
        run.finish(sibling(output, ".html"))
    return result


def write_result(
    result: Reconstruction,
    output: Path,
    record: Mapping[str, Any],
    overwrite: bool,
    volumes: Mapping[Path, Volume],
    evidence: Evidence,
    *,
    headers: Mapping[str, Any] | None = None,
    live: NDArray[np.bool_] | None = None,
) -> None:
    """Volumes by their files, picture, report and, last, the record that says they are whole: all, or nothing.

    Parameters
    ----------
    headers : options of SEG-Y outputs: the file whose headers they take over
    live : which traces of a survey were recorded, for its picture
    """
    from recon3d.report.animation import animated
    from recon3d.report.html import case_report
    from recon3d.report.pictures import three_planes
    from recon3d.report.seismic import survey_sheet

    written: list[Path] = []
    with ExitStack() as outputs:  # files get their names when it ends, the last entered first

        def temporary(path: Path) -> Path:
            written.append(outputs.enter_context(atomic_path(path, overwrite)))
            return written[-1]

        write_record(temporary(sibling(output, ".recon.json")), record, overwrite=True)
        if isinstance(result.volume.grid, AffineGrid):
            temporary(sibling(output, ".png")).write_bytes(three_planes(result.volume))
            if _moves(result.volume.data.ndim, len(result.volume.data)):
                temporary(sibling(output, ".gif")).write_bytes(animated(result.volume))
        elif isinstance(result.volume.grid, SurveyGrid):
            temporary(sibling(output, ".png")).write_bytes(survey_sheet(result.volume, live))
        layers = {"result": result.volume, "uncertainty": result.uncertainty, **evidence.volumes, **result.others}
        shown = {name: layer for name, layer in layers.items() if layer is not None}
        told = {"uncertainty": str(result.facts["error_bar"])} if "error_bar" in result.facts else {}
        report = case_report(shown, record, notes={**NOTES, **told}, history=result.history)
        temporary(sibling(output, ".html")).write_text(report, encoding="utf-8")
        for path, volume in volumes.items():
            save(volume, temporary(path), **(headers or {} if writer_for(path)[0] == "segy" else {}))
        for path in written:  # a full disk may show only now; no file has its name yet
            with path.open("rb") as stream:
                os.fsync(stream)


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


def _misfit(problem: Problem, result: Reconstruction) -> dict[str, float]:
    """Root mean square of the whitened A x - y: near 1 where the image explains the data down to their noise.

    Only for methods that state a residual, so that no other pays for one more projection."""
    shape = tuple(problem.domain.shape)
    if not problem.noise.is_known or "residual" not in result.facts or result.volume.data.shape != shape:
        return {}
    if "acquisition" in result.details:  # a part of the data was measured, and the others were never looked at
        return {}
    A, y = problem.noise.whiten(problem.A, problem.y)
    gap = A(problem.image(result.volume)) - y
    blocks = y.tensors if isinstance(y, Blocks) else (y,)
    measured = sum(int(block.count_nonzero()) * (2 if block.is_complex() else 1) for block in blocks)
    return {"residual_to_noise": float(norm(gap)) / math.sqrt(max(measured, 1))}


def _values(volume: Volume, config: ReconstructConfig) -> str:
    """What of the image is written, for the record."""
    if not np.iscomplexobj(volume.data):
        return "real"
    return ("complex" if config.complex else "magnitude") + (", phase beside it" if config.phase else "")


def _volumes(result: Reconstruction, output: Path, config: ReconstructConfig, evidence: Evidence) -> dict[Path, Volume]:
    """The volumes that are written, by their files, the output last."""
    volumes = {}
    if config.phase:
        volumes[_beside(output, "phase")] = phase(result.volume)
    if result.uncertainty is not None:
        volumes[_beside(output, "uncertainty")] = result.uncertainty
    for name, volume in evidence.volumes.items():
        volumes[_beside(output, name)] = magnitude(volume)
    for name, other in result.others.items():
        volumes[_beside(output, name)] = other if config.complex else magnitude(other)
    return volumes | {output: result.volume if config.complex else magnitude(result.volume)}


def _moves(axes: int, frames: int) -> bool:
    return axes == 4 and frames > 1


def _check_series(problem: Problem, output: Path, overwrite: bool) -> None:
    """Refuse before any work what a file cannot hold of a series."""
    shape = problem.domain.shape
    if problem.domain.axes[0] != "t" or not _moves(len(shape), shape[0]):
        return
    check_output(sibling(output, ".gif"), overwrite)
    if problem.times_s is not None and output.name.lower().endswith((".nii", ".nii.gz")):
        check_even_times(problem.times_s)


def _beside(output: Path, name: str) -> Path:
    """The file of another volume beside the output: ``a.nii.gz`` and "null space" give ``a.null-space.nii.gz``."""
    word = name.replace(" ", "-")
    for suffix in (".nii.gz", ".nii", ".h5", ".hdf5", ".npy", ".sgy", ".segy"):
        if output.name.endswith(suffix):
            return sibling(output, f".{word}{suffix}")
    return output.with_name(f"{output.name}.{word}")


def _on_grid(scan: Scan, config: ReconstructConfig) -> Scan:
    """The scan with the output grid that was asked for."""
    wanted = config.grid
    if wanted.like is not None:
        like = load(wanted.like)
        return on_grid(scan, like.grid)
    if wanted.voxel_mm is None and wanted.shape is None:
        return scan
    if not isinstance(scan.grid, AffineGrid):
        raise ConfigError(
            f"grid.voxel_mm and grid.shape need a voxel grid, this scan lies on a {type(scan.grid).__name__}."
        )
    if wanted.shape is not None:
        return scan.on(scan.grid.resampled(wanted.shape))
    voxel = np.broadcast_to(np.asarray(wanted.voxel_mm, dtype=float), (3,)).copy()
    if isinstance(wanted.voxel_mm, float) and is_stack_of_slices(scan):
        voxel[0] = scan.grid.voxel_mm[0]  # one detector row is one slice: their pitch is not ours to choose
    return scan.on(scan.grid.with_voxel_mm(tuple(voxel)))


def _describe_grid(problem: Problem) -> str:
    grid = problem.grid
    if isinstance(grid, AffineGrid):
        return f"{grid.shape} voxels (z, y, x) of " + " x ".join(f"{v:g}" for v in grid.voxel_mm) + " mm"
    return f"{type(grid).__name__} {grid.shape}"
