"""Model cards: what a prior was trained on, and whether a scan is like that; reads file headers without torch."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from operators.normalization import Normalization
from recon3d.errors import ModelError
from recon3d.priors.calibration import Calibration

METADATA_KEY = "recon3d.card"
LARGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself


class BaseCard(BaseModel):
    """What every kind of model states; kept as JSON in the metadata of its safetensors file.

    `kind` says which class of card it is (`KINDS`) and so how the model is loaded. `modality` is that of the scans, or
    "any". `voxel_mm` is the (smallest, largest) pixel side of the training images, None where none is known.
    `spatial_dims` is 2 for a model of slices, 3 for one of whole volumes. `architecture` is what
    `recon3d.priors.networks.build_network` builds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    summary: str = ""
    modality: str
    voxel_mm: tuple[float, float] | None
    orientation: Literal["axial", "coronal", "sagittal", "any"] = "any"
    smallest_side: int = Field(default=16, ge=1)
    spatial_dims: Literal[2, 3] = 2
    complex_image: bool = False
    architecture: dict[str, Any]
    training: dict[str, Any] = Field(default_factory=dict)
    licence: str
    sha256: str = ""


class Card(BaseCard):
    """The card of a denoiser.

    `scale` and `offset` (units of the images, `units`) map to the normalised range, in which `sigma_min`, `sigma_max`,
    `sigma_data` and `mean` are given. `coordinates` say what the network is asked and answers
    (`recon3d.priors.coordinates`). `calibration` holds what is known of the spread of samples.
    """

    kind: Literal["denoiser"] = "denoiser"
    units: str
    scale: float = Field(gt=0)
    offset: float = 0.0
    range: tuple[float, float] = (0.0, 1.0)
    coordinates: dict[str, Any] = Field(default_factory=lambda: {"kind": "edm"})
    sigma_min: float = Field(gt=0)
    sigma_max: float = Field(gt=0)
    sigma_data: float = Field(gt=0)
    mean: float = 0.0
    calibration: tuple[Calibration, ...] = ()

    @property
    def normalization(self) -> Normalization:
        return Normalization(scale=self.scale, offset=self.offset)


class ReconstructorCard(BaseCard):
    """The card of a feed-forward network for multi-coil MRI.

    `scaling` says by which number of its own each slice of k-space is divided: "percentile" is the `percentile` (0..1)
    of the magnitudes of all its samples, unmeasured zeros included, so it moves with the acceleration; a network must
    meet the rule it was trained with.
    `calibration_radius` makes the calibration region a disc of that many samples; None takes the fully sampled centre.
    `patterns`, `acceleration`, `centre` (share of lines) and `coils` are those of the training.
    """

    kind: Literal["reconstructor"] = "reconstructor"
    complex_image: bool = True
    scaling: Literal["percentile"] = "percentile"
    percentile: float = Field(default=0.99, gt=0, le=1)
    calibration_radius: int | None = Field(default=None, ge=1)
    patterns: tuple[str, ...]
    acceleration: tuple[float, float]
    centre: tuple[float, float]
    coils: tuple[int, int]


class InterpolatorCard(BaseCard):
    """The card of an interpolator: cubes of unit root mean square on their observed traces, without unit."""

    kind: Literal["interpolator"] = "interpolator"
    spatial_dims: Literal[2, 3] = 3
    voxel_mm: tuple[float, float] | None = None
    sigma_min: float = Field(gt=0)
    sigma_max: float = Field(gt=0)
    sigma_data: float = Field(gt=0)


KINDS: dict[str, type[BaseCard]] = {
    "denoiser": Card,
    "interpolator": InterpolatorCard,
    "reconstructor": ReconstructorCard,
}
"""The class of a card by its `kind`; cards of before there were kinds are of denoisers."""


def kind_of_plug_in(kind: str) -> Any:
    """What a package's entry point of the group ``recon3d.model_kinds`` names, or None.

    It is a module, or anything, with ``CARD`` (a subclass of `BaseCard`), ``make(card)`` (the network whose weights the
    file holds) and ``wrap(card, network, *, micro_batch, half)`` (what methods get: it has ``card`` and
    ``bytes_per_slice(shape)``).
    """
    points = {point.name: point for point in entry_points(group="recon3d.model_kinds")}
    return points[kind].load() if kind in points else None


def fit(
    card: BaseCard,
    *,
    modality: str | None = None,
    voxel_mm: Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    orientation: str | None = None,
) -> list[str]:
    """Every way in which a scan is unlike the card, one sentence each; an empty list when it fits.

    Parameters
    ----------
    voxel_mm : (z, y, x) or (y, x); the last two are the sides of the pixels that the prior sees.
    shape : (z, y, x) or (y, x); the last two are the sides of the slices that the prior sees.
    orientation : "axial", "coronal" or "sagittal": the plane of these slices.
    """
    misfits = []
    if modality is not None and card.modality.lower() not in ("any", modality.lower()):
        misfits.append(f"the prior {card.name} was trained on {card.modality}, the scan is {modality}")
    if voxel_mm is not None and card.voxel_mm is not None:
        low, high = card.voxel_mm
        sides = [float(side) for side in voxel_mm[-2:]]
        if min(sides) < 0.95 * low or max(sides) > 1.05 * high:  # 5 %: rounding of sizes in file headers
            misfits.append(
                f"the prior {card.name} was trained on pixels of {low:g} to {high:g} mm, "
                f"the scan has {sides[0]:.3g} x {sides[1]:.3g} mm"
            )
    if shape is not None and min(shape[-2:]) < card.smallest_side:
        misfits.append(
            f"the prior {card.name} needs slices of at least {card.smallest_side} pixels a side, "
            f"the scan has {shape[-2]} x {shape[-1]}"
        )
    if orientation is not None and card.orientation != "any" and orientation != card.orientation:
        misfits.append(f"the prior {card.name} was trained on {card.orientation} slices, these are {orientation}")
    return misfits


def read_card(path: str | Path) -> BaseCard:
    """The card of a safetensors file, from its header alone.

    Raises
    ------
    ModelError
        When the file is missing, cut short, no safetensors file, or carries no readable card.
    """
    header, _ = read_header(path)
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path} carries no recon3d card; write models with recon3d.priors.save_model.")
    try:
        content = json.loads(text)
        kind = content.get("kind", "denoiser")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"The card in {path} is not readable: it is no JSON object; get the file again.") from error
    card_class: type[BaseCard] | None = KINDS.get(kind) or getattr(kind_of_plug_in(kind), "CARD", None)
    if card_class is None:
        raise ModelError(
            f"{path} holds a model of kind {kind!r}, known are {', '.join(KINDS)}; use a newer recon3d, or install the "
            "plug-in for it."
        )
    try:
        return card_class.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"The card in {path} is not readable: {where}: {first['msg']}; get the file again.") from error


def read_header(path: str | Path) -> tuple[dict[str, Any], int]:
    """Header of a safetensors file and the byte at which its tensors start; checks that the file is whole."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"Expected a model file at {path}, found none; `recon3d models` lists the names known.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1
        if length > LARGEST_HEADER:
            raise ModelError(f"{path} is not a safetensors file; recon3d reads no other kind of weights.")
        text = file.read(length)
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = "cut short" if len(text) < length else "not a safetensors file"
        raise ModelError(f"{path} is {reason}; get the file again.") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelError(f"Expected {path} to have {expected} bytes, it has {size}: it is cut short or damaged.")
    return header, 8 + length


def file_hash(path: str | Path) -> str:
    """`tensor_hash` of the tensors in a safetensors file, read one by one and without torch."""
    header, start = read_header(path)
    names = sorted(name for name in header if name != "__metadata__")
    with Path(path).open("rb") as file:

        def data(begin: int, end: int) -> bytes:
            file.seek(start + begin)
            return file.read(end - begin)

        return tensor_hash(
            (name, header[name]["dtype"], tuple(header[name]["shape"]), data(*header[name]["data_offsets"]))
            for name in names
        )


def tensor_hash(tensors: Iterable[tuple[str, str, tuple[int, ...], bytes]]) -> str:
    """SHA-256 over names, safetensors dtype names, shapes and bytes; the tensors must come in order of their names."""
    digest = hashlib.sha256()
    for name, dtype, shape, data in tensors:
        digest.update(f"{name} {dtype} {list(shape)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def verify(path: str | Path) -> BaseCard:
    """The card, after comparing the SHA-256 of the tensors with the one it states.

    Raises
    ------
    ModelError
        When they differ, or as `read_card`.
    """
    card = read_card(path)
    found = file_hash(path)
    if found != card.sha256:
        raise ModelError(
            f"The tensors in {path} have SHA-256 {found[:12]}..., its card says {card.sha256[:12] or 'nothing'}...: "
            "the file was changed or damaged; get it again."
        )
    return card
