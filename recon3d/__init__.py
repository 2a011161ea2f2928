"""recon3d: 3D reconstruction with learned priors, from a file to a file.

Five lines do what the command line does, with the same numbers::

    import recon3d

    volume = recon3d.load("ct.nii.gz")
    scan = recon3d.simulate(volume, {"views": 16}, noise={"photons": 1e5})
    result = recon3d.reconstruct(recon3d.problem_for(scan), "tv")
    recon3d.save(result.volume, "tv.nii.gz")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon3d.io.formats import load, save
    from recon3d.methods import reconstruct
    from recon3d.problem import Problem, problem_for
    from recon3d.scan import Scan
    from recon3d.synthetic.simulate import simulate
    from recon3d.volume import Volume

__version__ = "0.1.0"

__all__ = ["Problem", "Scan", "Volume", "load", "problem_for", "reconstruct", "save", "simulate"]

_HOMES = {
    "Problem": "problem",
    "Scan": "scan",
    "Volume": "volume",
    "load": "io.formats",
    "problem_for": "problem",
    "reconstruct": "methods",
    "save": "io.formats",
    "simulate": "synthetic.simulate",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import recon3d` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
