"""An array file seen through a mapping: the mapping's entries as values of the file, in millimetres and radians."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from recon3d.errors import InputError
from recon3d.io.entries import Entries
from recon3d.io.mapping import MM, RAD, check_keys, unit_of

KEYS = (
    "kind", "name", "data", "axes", "flip", "views", "units", "transform", "scale", "geometry", "grid", "acquisition",
    "noise", "calibration", "image_units", "probe", "transmit", "pairs", "sampling", "centre", "demodulation",
    "sound_speed", "first_sample", "frame_rate", "pulse_delay", "bandwidth",
)  # fmt: skip


class Mapped:
    """One file seen through one mapping.

    Parameters
    ----------
    entries : the file
    mapping : its meaning; docs/formats.md describes the keys

    Raises
    ------
    InputError
        For an unknown key or unit, a mapping without `kind` or `axes`, or keys that the file lacks (all are named).
    """

    def __init__(self, entries: Entries, mapping: Mapping[str, Any]) -> None:
        self.entries = entries
        self.path = entries.path
        self.mapping = mapping
        check_keys("the mapping", mapping, KEYS)
        if "axes" not in mapping or "kind" not in mapping:
            raise InputError("A mapping needs 'kind' (e.g. ct), 'axes' (names of the axes as stored), mostly 'data'.")
        self.kind = str(mapping["kind"])
        self.name = str(mapping.get("name", self.path.stem))
        self.stored_axes = names(mapping["axes"])
        units = self.part("units")
        check_keys("units", units, ("length", "angle"))
        self.unit_mm = unit_of(units.get("length", "mm"), MM)
        self.unit_rad = unit_of(units.get("angle", "deg"), RAD)
        missing = [key for key in named_keys(mapping) if entries.find(key) is None]
        if missing:
            listed = ", ".join(f"'{key}'" for key in missing)
            hint = " (name the data by `data:`)" if missing == [""] else ""
            raise InputError(f"{self.path} has no {listed}{hint}: it holds {entries.listing()}.")

    def part(self, name: str) -> dict[str, Any]:
        """A section of the mapping; empty if it is not there."""
        part = self.mapping.get(name) or {}
        if not isinstance(part, Mapping):
            raise InputError(f"'{name}' of a mapping holds keys and values, got {part!r}.")
        return dict(part)

    def values(self, name: str) -> dict[str, Any]:
        """A section with all its entries as values."""
        return {key: self.value(entry, f"{name}.{key}") for key, entry in self.part(name).items()}

    def value(self, entry: Any, name: str) -> Any:
        """A number, text or array: written out, or `{key: ..., factor: ..., offset: ...}` from the file."""
        if isinstance(entry, Mapping):
            check_keys(name, entry, ("key", "factor", "offset", "unit"))
            if "key" not in entry:
                raise InputError(f"{name} is a value, or has a `key` of the file; got {dict(entry)}.")
            value = self.entries[str(entry["key"])]
            if isinstance(value, np.ndarray):
                value = value.item() if value.size == 1 else value.squeeze()
            if "factor" in entry or "offset" in entry:
                value = value * float(entry.get("factor", 1.0)) + float(entry.get("offset", 0.0))
            return value
        if isinstance(entry, list | tuple):
            try:
                return np.asarray(entry, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name} is a list of numbers, got {_short(entry)}.") from error
        if isinstance(entry, str):
            try:  # YAML 1.1 reads 1e5 as text
                return float(entry)
            except ValueError:
                return entry
        return entry

    def number(self, entry: Any, name: str) -> float:
        """One finite number."""
        value = np.asarray(self.value(entry, name))
        if value.size != 1 or value.dtype.kind not in "biuf" or not np.isfinite(value.item()):
            raise InputError(f"{name} is one finite number, got {_short(value)}.")
        return float(value.item())

    def length_mm(self, entry: Any, name: str) -> float:
        """A length in the entry's unit, or in the mapping's."""
        unit = unit_of(entry["unit"], MM) if isinstance(entry, Mapping) and "unit" in entry else self.unit_mm
        return self.number(entry, name) * unit

    def rad(self, entry: Any) -> float:
        """How many radians the unit of an angle is, the entry's or the mapping's."""
        return unit_of(entry["unit"], RAD) if isinstance(entry, Mapping) and "unit" in entry else self.unit_rad


def names(entry: Any) -> tuple[str, ...]:
    """One name or several."""
    return (entry,) if isinstance(entry, str) else tuple(str(v) for v in entry or ())


def named_keys(mapping: Mapping[str, Any]) -> list[str]:
    """The keys that a file needs for a mapping: of its data and of each `key:`, but for patterns."""
    data = mapping.get("data", "")  # the arrays of a pattern are looked for when they are stacked
    return [*([] if isinstance(data, Mapping) else [str(data)]), *_references(mapping)]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "key" in part:
            yield str(part["key"])
        part = list(part.values())
    if isinstance(part, list | tuple):
        for value in part:
            yield from _references(value)


def _short(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= 60 else text[:57] + "..."
