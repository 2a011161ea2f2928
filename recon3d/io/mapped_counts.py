"""Counts in array files: what the section `transform` of a mapping means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.mapped import Mapped
from recon3d.io.mapping import check_keys
from recon3d.preprocessing.counts import LEAST_COUNT, air_field, line_integrals

CT_AXES = ("view", "row", "column")


def transformed(source: Mapped, data: NDArray[Any], stored: tuple[str, ...]) -> NDArray[Any]:
    """Line integrals from counts or transmissions, -log((counts - dark) / (flat - dark)), where `transform` says so.

    Parameters
    ----------
    data : as stored
    stored : names of its axes
    """
    transform = source.mapping.get("transform")
    if transform is None:
        return data
    if transform == "transmission":
        transform = {"flat": 1.0}
    if not isinstance(transform, Mapping) or ("flat" in transform) == ("air_columns" in transform):
        raise InputError(
            "'transform' is `transmission`, or has `flat` (counts without an object) and `dark`, or `air_columns`."
        )
    check_keys("transform", transform, ("flat", "dark", "floor", "air_columns"))
    if data.dtype.kind == "c":
        raise InputError("Counts are real numbers, the data are complex: leave 'transform' out.")
    if "air_columns" in transform:
        return _against_air(source, data, stored, transform)
    flat = _field(source, transform["flat"], data, stored, "transform.flat")
    dark = _field(source, transform.get("dark", 0.0), data, stored, "transform.dark")
    span = flat - dark
    if not (span > 0).all():
        dead = int(np.count_nonzero(~(span > 0)))
        raise InputError(f"The flat field of {source.path} is no brighter than the dark one at {dead} pixels.")
    counts = np.asarray(data, dtype=np.float64) - dark
    # Half a count is the least that a detector can mean; it keeps the logarithm of an opaque ray finite.
    floor = source.number(transform["floor"], "transform.floor") if "floor" in transform else 0.5
    if source.mapping["transform"] == "transmission":
        floor = float(counts[counts > 0].min()) if (counts > 0).any() else 1.0
    return np.log(span) - np.log(np.maximum(counts, floor))


def _against_air(
    source: Mapped, data: NDArray[Any], stored: tuple[str, ...], transform: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Line integrals where the air at both ends of each row is all that is known of the beam."""
    order = [stored.index(axis) for axis in CT_AXES if axis in stored]
    if len(order) != data.ndim:
        raise InputError(f"transform.air_columns is for CT data, the mapping says {', '.join(stored)}.")
    counts = data.transpose(order)
    counts = np.expand_dims(counts, [i for i, axis in enumerate(CT_AXES) if axis not in stored])
    dark = _field(source, transform.get("dark", 0.0), data, stored, "transform.dark")
    if dark.ndim:
        raise InputError("transform.dark is one number where air_columns is given.")
    floor = source.number(transform.get("floor", LEAST_COUNT), "transform.floor")
    columns = int(source.number(transform["air_columns"], "transform.air_columns"))
    flat = air_field(counts - dark, columns) + dark
    result, _ = line_integrals(counts, flat, dark, floor=floor, name=str(source.path))
    return result.reshape([data.shape[i] for i in order]).transpose(np.argsort(order))


def _field(source: Mapped, entry: Any, data: NDArray[Any], stored: tuple[str, ...], name: str) -> NDArray[np.float64]:
    """A flat or dark field that broadcasts to the data; frames of it are averaged."""
    field = np.asarray(source.value(entry, name), dtype=np.float64).squeeze()
    if field.ndim == 0 or field.shape == data.shape:
        return field
    view = stored.index("view") if "view" in stored else 0
    frame = data.shape[:view] + data.shape[view + 1 :]
    squeezed = tuple(n for n in frame if n > 1)
    if field.ndim == len(squeezed) + 1 and field.shape[1:] == squeezed:
        field = field.mean(axis=0)
    if field.shape != squeezed:
        raise InputError(f"{name} has shape {field.shape}: expected a number, or frames of shape {frame}.")
    return np.expand_dims(field.reshape(frame), view)
