"""The XML header of ISMRMRD, fastMRI and M4Raw files: matrix sizes, fields of view and limits; lenient on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from recon3d.errors import InputError


@dataclass(frozen=True)
class Header:
    """What a reconstruction needs of the header.

    Parameters
    ----------
    encoded, recon : matrix sizes (z, y, x)
    encoded_fov_mm, recon_fov_mm : fields of view (z, y, x); one mm per voxel where the header does not say
    centre : the k-space steps (2, 1) at the centre of k-space
    last : the largest steps (2, 1), or None
    trajectory : "cartesian" ...
    assumed : what the header does not say
    """

    encoded: tuple[int, int, int]
    recon: tuple[int, int, int]
    encoded_fov_mm: tuple[float, float, float]
    recon_fov_mm: tuple[float, float, float]
    centre: tuple[int, int]
    last: tuple[int | None, int | None]
    trajectory: str
    assumed: tuple[str, ...]


def parse_header(text: Any, source: str, encoding: int = 0) -> Header:
    """Read a header with or without a namespace; elements that only describe are not needed.

    Raises
    ------
    InputError
        If it is not XML, or states no matrix size.
    """
    raw = text if isinstance(text, bytes) else str(text).encode()
    if b"<!ENTITY" in raw or b"<!DOCTYPE" in raw:
        raise InputError(f"The header of {source} defines entities, which no MRI header does: it is not read.")
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        raise InputError(f"The header of {source} is no readable XML: {error}.") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    encodings = root.findall("encoding")
    if not 0 <= encoding < len(encodings):
        raise InputError(f"The header of {source} describes {len(encodings)} encodings, there is no number {encoding}.")
    part = encodings[encoding]

    def triple(space: str, group: str, kind: type) -> tuple[Any, Any, Any] | None:
        found = [part.findtext(f"{space}/{group}/{axis}") for axis in "zyx"]
        try:
            return tuple(kind(v) for v in found) if None not in found else None  # type: ignore[return-value, arg-type]
        except ValueError:
            return None

    encoded = triple("encodedSpace", "matrixSize", int)
    if encoded is None or min(encoded) < 1:
        raise InputError(f"The header of {source} states no encoded matrix size: it cannot be reconstructed without.")
    recon = triple("reconSpace", "matrixSize", int) or encoded
    assumed = []
    stated_fov = triple("encodedSpace", "fieldOfView_mm", float)
    if stated_fov is None:
        assumed.append("voxel lengths: the header has no field of view, so 1 mm is taken")
    fov = stated_fov or (float(encoded[0]), float(encoded[1]), float(encoded[2]))
    recon_fov = triple("reconSpace", "fieldOfView_mm", float)
    if recon_fov is None:
        recon_fov = tuple(f * r / e for f, r, e in zip(fov, recon, encoded, strict=True))

    def limit(step: int, name: str) -> int | None:
        value = part.findtext(f"encodingLimits/kspace_encoding_step_{step}/{name}")
        return int(value) if value is not None and value.strip().lstrip("-").isdigit() else None

    centres = []
    for step, size in ((2, encoded[0]), (1, encoded[1])):
        centre = limit(step, "center")
        if centre is None and step == 1:
            assumed.append("centre of k-space: the header does not say, so the middle line is taken")
        centres.append(size // 2 if centre is None else centre)
    trajectory = (part.findtext("trajectory") or "unknown").strip().lower()
    return Header(
        encoded,
        recon,
        fov,
        recon_fov,  # type: ignore[arg-type]
        (centres[0], centres[1]),
        (limit(2, "maximum"), limit(1, "maximum")),
        trajectory,
        tuple(assumed),
    )
