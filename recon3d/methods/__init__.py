"""Methods by name: the built-in ones and those that plug-ins bring (entry point group ``recon3d.methods``)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from recon3d.errors import ConfigError, InputError

if TYPE_CHECKING:
    from recon3d.methods.base import Method, Reconstruction
    from recon3d.problem import Problem
    from recon3d.run import Run

_BUILT_IN = {
    "auto": "recon3d.methods.auto:Auto",
    "fbp": "recon3d.methods.fbp:FBP",
    "sirt": "recon3d.methods.sirt:SIRT",
    "cgls": "recon3d.methods.cgls:CGLS",
    "tv": "recon3d.methods.tv:TV",
    "dds": "recon3d.methods.dds:DDS",
    "active_sampling": "recon3d.methods.active_sampling:ActiveSampling",
    "diffusion_mbir": "recon3d.methods.diffusion_mbir:DiffusionMBIR",
    "denoise": "recon3d.methods.denoise:Denoise",
    "zero_filled": "recon3d.methods.zero_filled:ZeroFilled",
    "cg_sense": "recon3d.methods.cg_sense:CGSense",
    "l1_wavelet": "recon3d.methods.l1_wavelet:L1Wavelet",
    "supervised": "recon3d.methods.supervised:Supervised",
    "psm": "recon3d.methods.psm:PSM",
    "red_psm": "recon3d.methods.red_psm:RedPSM",
    "sliding_window": "recon3d.methods.sliding_window:SlidingWindow",
    "temporal_tv": "recon3d.methods.temporal_tv:TemporalTV",
    "lps": "recon3d.methods.lps:LowRankPlusSparse",
    "das": "recon3d.methods.das:DelayAndSum",
    "dehaze": "recon3d.methods.dehaze:Dehaze",
    "svd_clutter": "recon3d.methods.clutter:SVDClutter",
    "wiener": "recon3d.methods.clutter:WienerDehaze",
    "nonlocal_means": "recon3d.methods.clutter:NonlocalMeans",
    "pocs": "recon3d.methods.pocs:POCS",
    "mssa": "recon3d.methods.mssa:MSSA",
    "fx_prediction": "recon3d.methods.fx_prediction:FXPrediction",
    "seisfusion": "recon3d.methods.seisfusion:SeisFusion",
}
_REGISTERED: dict[str, type[Method]] = {}


def register(method: type[Method]) -> None:
    """Make a method known in this process (plug-ins use the entry point instead)."""
    _REGISTERED[method.name] = method


def method_names() -> list[str]:
    """Names of all methods that can be asked for."""
    return sorted({*_BUILT_IN, *_REGISTERED, *(point.name for point in entry_points(group="recon3d.methods"))})


def method_class(name: str) -> type[Method]:
    """The method of that name."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return cast("type[Method]", getattr(import_module(module), attribute))
    for point in entry_points(group="recon3d.methods"):
        if point.name == name:
            return cast("type[Method]", point.load())
    from recon3d.faults import did_you_mean

    known = method_names()
    raise ConfigError(f"Unknown method '{name}'{did_you_mean(name, known)}: expected one of {', '.join(known)}.")


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method with its settings; every fault in them is named at once."""
    from pydantic import ValidationError

    from recon3d.faults import describe_faults

    cls = method_class(name)
    try:
        return cls(**settings)
    except ValidationError as error:
        raise ConfigError(describe_faults(error, cls, f"method.{{}} of '{name}'")) from error


def reconstruct(
    problem: Problem,
    method: str | Method,
    *,
    models: Mapping[str, Any] | None = None,
    run: Run | None = None,
    **settings: Any,
) -> Reconstruction:
    """Solve a problem by a named method: the same numbers as the command line gives.

    Parameters
    ----------
    problem : from `recon3d.problem_for`
    method : a name of `method_names()` with `settings`, or a ready `Method`
    models : models by role: loaded, by name, or by file; a role that is left out takes the first known one that fits
    run : progress and seed; silent with seed 0 by default

    Raises
    ------
    InputError, ConfigError, ModelError
        For anything but a problem, settings that the method does not have, and models that do not fit.
    """
    from recon3d.methods.roles import settled
    from recon3d.problem import Problem
    from recon3d.run import SilentRun

    if not isinstance(problem, Problem):
        raise InputError(
            f"reconstruct takes a Problem, got a {type(problem).__name__}: make one of a scan by recon3d.problem_for."
        )
    asked = make_method(method, settings) if isinstance(method, str) else method
    chosen, found, reason = settled(asked, problem, models)
    run = run or SilentRun()
    if reason:
        run.note(reason)
    return chosen.reconstruct(problem, found, run)
