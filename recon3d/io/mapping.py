"""Mappings: dicts that say what the arrays of a foreign file mean, from Python, a YAML file or configs/sources."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recon3d.errors import InputError
from recon3d.faults import did_you_mean

MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "um": 0.001, "micron": 0.001, "inch": 25.4}
RAD = {"rad": 1.0, "deg": math.pi / 180.0}


def sources_folder() -> Path:
    """Where the mappings that come with recon3d lie: in the source tree, or below the Python prefix."""
    tree = Path(__file__).resolve().parents[2] / "configs" / "sources"
    return tree if tree.is_dir() else Path(sys.prefix) / "share" / "recon3d" / "configs" / "sources"


def mapping_names() -> tuple[str, ...]:
    """Names of the mappings that come with recon3d."""
    return tuple(sorted(path.stem for path in sources_folder().glob("*.yaml")))


def load_mapping(mapping: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Any]:
    """A mapping as a dict, from a dict, a YAML file or the name of a recipe."""
    if isinstance(mapping, Mapping):
        return dict(mapping)
    import yaml

    path = Path(mapping)
    if not path.suffix:
        named = sources_folder() / f"{mapping}.yaml"
        if not named.is_file():
            raise InputError(f"There is no mapping '{mapping}'{nearest(str(mapping), mapping_names())}.")
        path = named
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The mapping {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise InputError(f"The mapping {path} is not valid YAML{where}.") from error
    if not isinstance(content, dict):
        raise InputError(f"The mapping {path} holds no keys: expected at least data, axes and kind.")
    return content


def unit_of(name: Any, table: Mapping[str, float]) -> float:
    """The factor of a unit in `MM` or `RAD`."""
    if name not in table:
        raise InputError(f"'{name}' is no unit that a mapping knows: expected one of {', '.join(table)}.")
    return table[name]


def check_keys(where: str, part: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that nobody reads, with the nearest known one."""
    unknown = [str(key) for key in part if key not in known]
    if unknown:
        hints = "; ".join(f"'{key}'{nearest(key, known)}" for key in unknown)
        raise InputError(f"Unknown key in {where}: {hints}.")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name."""
    return did_you_mean(name, known) or f" (known: {', '.join(known) or 'none'})"
