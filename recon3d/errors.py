"""The tree of exceptions that a person can meet; the command line turns each into one line and an exit code.

::

    ReconError (operators.errors)
    ├── ShapeError, GeometryError, DeviceError, MissingPackageError     (operators.errors)
    ├── InputError         (ValueError)         a file or its data cannot be used               exit 2
    ├── ConfigError        (ValueError)         a configuration is wrong                        exit 2
    ├── ModelError         (ValueError)         a model is damaged or does not fit the scan     exit 2
    ├── OutputExistsError  (FileExistsError)    an output is there and --force was not given    exit 2
    ├── MemoryLimitError   (MemoryError)        not enough memory for any plan                  exit 3
    ├── DiskFullError      (OSError)            not enough room for the output                  exit 3
    └── Interrupted                             stopped by a signal, resumable                  exit 130
"""

from __future__ import annotations

from operators.errors import DeviceError, GeometryError, MissingPackageError, ReconError, ShapeError

__all__ = [
    "ConfigError",
    "DeviceError",
    "DiskFullError",
    "GeometryError",
    "InputError",
    "Interrupted",
    "MemoryLimitError",
    "MissingPackageError",
    "ModelError",
    "OutputExistsError",
    "ReconError",
    "ShapeError",
]


class InputError(ReconError, ValueError):
    """A file cannot be read or what it holds cannot be used."""


class ConfigError(ReconError, ValueError):
    """A configuration has a wrong key or value; the message lists every fault."""


class ModelError(ReconError, ValueError):
    """A model file is damaged, or the model does not fit the scan."""


class OutputExistsError(ReconError, FileExistsError):
    """The output exists already and overwriting was not asked for."""


class MemoryLimitError(ReconError, MemoryError):
    """No plan fits into the memory that is allowed."""


class DiskFullError(ReconError, OSError):
    """The output does not fit on its disk."""


class Interrupted(ReconError):
    """The run was stopped by a signal; what it needs to resume is on disk."""
