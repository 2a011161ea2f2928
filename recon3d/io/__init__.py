"""Files: every format is one module that turns a file into a Volume or a Scan, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon3d.io.atomic import atomic_path
    from recon3d.io.formats import load, save
    from recon3d.io.inspect import describe

__all__ = ["atomic_path", "describe", "load", "save"]

_HOMES = {"atomic_path": "atomic", "describe": "inspect", "load": "formats", "save": "formats"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import recon3d` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
