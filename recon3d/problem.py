"""Problem: measured data, physics and noise in one place; what every method is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.blocks import Blocks
from operators.linear import Diagonal, LinearOperator
from operators.mri import CartesianEncoding, Encoding, typical
from operators.mri.kspace import corner_noise
from operators.normalization import Normalization
from operators.reduce import norm
from operators.series import Series, ViewSeries, series_norm, subspace
from operators.slice_norm import largest_slice_norm, slice_axis
from operators.space import BlockSpace, Space
from recon3d.acquisitions import acquisition_for, frame_times_s
from recon3d.errors import DeviceError, InputError, ModelError, ShapeError
from recon3d.grid import AffineGrid, Grid
from recon3d.noise import NoiseModel, in_order
from recon3d.scan import Scan
from recon3d.volume import Volume


@dataclass(frozen=True, eq=False)
class Normalised:
    """The problem as iterative methods and priors see it: white noise, |A| = 1, image in a stated range.

    Parameters
    ----------
    A : whitened operator with norm 1
    y : its data
    noise_std : standard deviation of the noise in `y`, or None where it is unknown
    normalization : from the units of the problem's image to this image
    """

    A: LinearOperator
    y: Any
    noise_std: float | None
    normalization: Normalization

    def physical(self, x: Tensor) -> Tensor:
        """The image in the units of the problem."""
        return self.normalization.invert(x)

    def residual(self, x: Tensor) -> float:
        """|A x - y| / |y|."""
        return float(norm(self.A(x) - self.y)) / max(float(norm(self.y)), 1e-30)


@dataclass(frozen=True, eq=False)
class Problem:
    """Find the image x from y = A x + noise.

    Parameters
    ----------
    y : data, a tensor or `Blocks`
    A : operator from the image on `grid`, in `units`, to the data
    noise : its noise model
    grid : where the image lies
    units : unit of the image inside the problem, e.g. "1/mm"
    support : real tensor in [0, 1] on the grid by which the image is multiplied (0: vacuum, no signal), or None
    calibration : physical constants known for the scan, e.g. {"water_per_mm": 0.02}
    times_s : time of each frame, for a series
    name : short title
    kind : modality, by which a model says whether it fits: the kind of scan, e.g. "ct"; "" if unknown
    signed : whether the image may be negative (complex images always may): "non-negative" is then ignored
    first_slice : index of the first slice within the whole volume, where this is a slab of it
    whole : the problem this is a slab of, or None; scales are those of the whole
    """

    y: Any
    A: LinearOperator
    noise: NoiseModel
    grid: Grid
    units: str = "1"
    support: Tensor | None = None
    calibration: Mapping[str, float] = field(default_factory=dict)
    times_s: tuple[float, ...] | None = None
    name: str = "problem"
    kind: str = ""
    signed: bool = False
    first_slice: int = 0
    whole: Problem | None = None

    def __post_init__(self) -> None:
        self.A.range.check(self.y, "The data")
        if not isinstance(self.A.domain, Space) or self.A.domain.shape[-3:] != tuple(self.grid.shape):
            raise ShapeError(
                f"The operator takes {self.A.domain}, the grid has shape {self.grid.shape}: they must agree."
            )
        frames = self.A.domain.shape[0] if len(self.A.domain.shape) > 3 else None
        if self.times_s is not None and len(self.times_s) != frames:
            raise InputError(
                f"'{self.name}' states {len(self.times_s)} times for {frames or 'no'} frames: give one time per frame."
            )

    @property
    def domain(self) -> Space:
        """The space of the image."""
        return cast(Space, self.A.domain)

    @property
    def output(self) -> tuple[str, Normalization]:
        """Unit in which the image leaves, and the map from the problem's unit to it.

        CT leaves in HU where the attenuation of water is known, else in 1/mm.
        """
        water = self.calibration.get("water_per_mm")
        if self.units == "1/mm" and water is not None:
            return "HU", Normalization(scale=water / 1000.0, offset=water)
        return self.units, Normalization()

    @cached_property
    def image_scale(self) -> float:
        """A typical value of the image, from physics where it is known, else from the data.

        CT: attenuation of water. MRI: a low-resolution image of the centre of k-space, which every acceleration
        measures. Otherwise the constant image whose data have the energy of y, |y| / |A 1|, which
        follows the data's unit and depends neither on voxel size nor, to first order, on the number of measurements.
        """
        if self.whole is not None:
            return self.whole.image_scale
        return self.scale_from(self.scale_parts())

    @property
    def _still(self) -> LinearOperator:
        return self.A.still if isinstance(self.A, ViewSeries) else self.A

    def scale_parts(self) -> Tensor:
        """What `image_scale` is made of; where slices are problems of their own, that of slabs joined is that of all.

        MRI: a low-resolution image. Otherwise |A 1|^2 and |y|^2 of each slice, or of the whole. CT with water: nothing.
        """
        if self._water is not None:
            return torch.empty(0)
        if isinstance(self._still, Encoding):
            return self._still.magnitudes(self.y)
        ones = torch.ones(self.domain.shape, dtype=self.domain.dtype, device=self.A.device)
        axis = slice_axis(self.A)
        both = (self.A(ones), self.y)
        if axis is None:
            return torch.stack([norm(data).square() for data in both])[None]
        return torch.stack([norm(data.movedim(axis, 0), 1).square() for data in both], dim=1)

    def scale_from(self, parts: Tensor) -> float:
        """`image_scale` from its parts."""
        if self._water is not None:
            return self._water
        if isinstance(self._still, Encoding):
            scale = typical(parts)
            if not (math.isfinite(scale) and scale > 0):
                raise InputError(
                    f"The centre of k-space of '{self.name}' holds no signal: check the data and the mask."
                )
            return scale
        reference, energy = (math.sqrt(in_order(column)) for column in parts.unbind(1))
        if reference == 0.0 or energy == 0.0 or not math.isfinite(energy):
            raise InputError(f"The data of '{self.name}' are zero everywhere, so there is nothing to reconstruct.")
        return energy / reference

    @property
    def _water(self) -> float | None:
        return self.calibration.get("water_per_mm") if self.units == "1/mm" else None

    @cached_property
    def inside(self) -> Tensor | None:
        """Where the image can differ from zero, a bool tensor that broadcasts to it; None: everywhere.

        Outside the support is vacuum. In MRI no signal comes from where every coil's sensitivity is zero: maps are
        estimated from signal, and end where it does.
        """
        inside = None if self.support is None else self.support > 0
        still = self.A.still if isinstance(self.A, ViewSeries) else self.A
        if isinstance(still, Encoding):
            seen = (still.maps != 0).any(1)
            seen = seen if "set" in self.domain.axes else seen[0]
            inside = seen if inside is None else inside & seen
        return None if inside is None or bool(inside.all()) else inside

    @cached_property
    def supported(self) -> LinearOperator:
        """A for images that vanish outside the support."""
        return self.A if self.support is None else self.A @ Diagonal(self.support, self.domain)

    @cached_property
    def strength(self) -> float:
        """Norm of the whitened operator: a seeded power iteration, so that settings relative to it are reproducible.

        Where slices are problems of their own, the largest of theirs."""
        if self.whole is not None:
            return self.whole.strength
        return self.strength_from(self.own_strength())

    def own_strength(self) -> float:
        """The norm of this problem's whitened operator, whatever it is a slab of."""
        whitened = self.noise.whiten(self.supported, self.y)[0]
        if slice_axis(whitened) is not None:
            return largest_slice_norm(whitened)
        return series_norm(whitened) if isinstance(self.A, Series) else whitened.norm()

    def strength_from(self, strength: float) -> float:
        """The norm, if it is one to divide by."""
        if strength == 0.0:
            raise InputError(f"No measurement of '{self.name}' meets the image grid: check the geometry and the grid.")
        return strength

    @property
    def splits(self) -> bool:
        """Whether slabs of slices are problems of their own."""
        slices = self.domain.shape[-3] if len(self.domain.shape) > 2 else 0
        return slices > 0 and self.A.restrict("z", 0, slices) is not None

    def slab(self, start: int, stop: int) -> Problem:
        """The problem of some slices alone, where the operator allows it; its scales are those of the whole."""
        part = self.A.restrict("z", start, stop)
        if part is None or not isinstance(self.grid, AffineGrid) or not isinstance(self.A.range, Space):
            raise ShapeError(f"'{self.name}' does not split into slabs: its slices share measurements.")
        return replace(
            self,
            y=part.select(self.y, self.A.range),
            A=part.operator,
            noise=self.noise.narrow(part, self.A.range),
            grid=self.grid.slab(start, stop),
            support=None if self.support is None else self.support[..., start:stop, :, :],
            first_slice=self.first_slice + start,
            whole=self.whole or self,
        )

    def normalization_from(self, normalization: Normalization, units: str) -> Normalization:
        """A model's range, stated in `units` (the card's), as a range of this problem's image.

        The values of an MR image have no unit, so a range in "1" is relative there.
        """
        own_units, output = self.output
        if units == own_units and not (units == "1" and isinstance(self.A, Encoding)):
            return Normalization(scale=normalization.scale * output.scale, offset=output.invert(normalization.offset))
        if units == "1":  # a relative range: one is the typical value of the image
            scale = self.image_scale
            return Normalization(scale=normalization.scale * scale, offset=normalization.offset * scale)
        raise ModelError(
            f"The model works in {units}, this scan is reconstructed in {own_units}: "
            "give scan.water_per_mm or scan.energy_kev so that Hounsfield units are known, or choose another model."
        )

    def normalised(self, normalization: Normalization | None = None) -> Normalised:
        """White noise, unit operator norm and the image in the given range: what iterative methods work on.

        Without a `normalization` the image is divided by `image_scale`.
        """
        normalization = normalization or Normalization(scale=self.image_scale)
        A, y = self.noise.whiten(self.supported, self.beside(normalization.offset))
        scale = 1.0 / (normalization.scale * self.strength)
        noise_std = scale if self.noise.is_known else None
        return Normalised((1.0 / self.strength) * A, y * scale, noise_std, normalization)

    def beside(self, value: float) -> Any:
        """The data without the part of an image that has this value everywhere (inside the support)."""
        if not value:
            return self.y
        A = self.supported
        if isinstance(self.A, Series):  # one image at rest, not as many as frames
            A = subspace(A, torch.ones(self.A.frames, 1, device=A.device))
        space = cast(Space, A.domain)
        return self.y - A(torch.full(space.shape, value, dtype=space.dtype, device=A.device))

    def volume(self, x: Tensor, **tags: Any) -> Volume:
        """The image as a Volume, in the unit in which it leaves, zero outside the support."""
        units, output = self.output
        if self.support is not None:
            x = x * self.support
        if (
            "set" in self.domain.axes
        ):  # parts of one object that folded over: their energies add, the first gives the phase
            x = _joined(x, self.domain.axes.index("set") - len(self.domain.axes))
        data = output.apply(x).detach().cpu().numpy()
        return Volume(data, self.grid, units=units, times_s=self.times_s, tags={"name": self.name, **tags})

    def image(self, volume: Volume) -> Tensor:
        """The inverse of `volume`: a Volume on this grid as an image of the problem."""
        units, output = self.output
        if volume.data.shape[-3:] != tuple(self.grid.shape):
            raise ShapeError(f"Expected a volume of shape {self.grid.shape}, got {volume.data.shape}.")
        if volume.units not in (units, self.units):
            raise InputError(f"Expected a volume in {units}, got {volume.units}.")
        if np.iscomplexobj(volume.data) and not self.domain.is_complex:
            raise InputError(
                f"'{self.name}' has a real image, got a complex volume: take its magnitude or its real part."
            )
        data = _tensor(volume.data, self.A.device, self.domain.dtype).to(self.domain.dtype)
        return output.invert(data) if volume.units == units else data


def problem_for(
    scan: Scan,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    support: NDArray[Any] | None = None,
) -> Problem:
    """The inverse problem of a scan: the only place where physics meets data.

    Where a Cartesian MRI scan states no noise, it is taken from the corners of k-space.

    Parameters
    ----------
    scan : what was measured
    device : where to compute
    dtype : torch.float32 or torch.float64, the working precision
    support : 0 to 1 on the scan's grid: where the object can be, e.g. `recon3d.acquisitions.field_of_view`

    Raises
    ------
    InputError
        If the kind of scan is unknown or its data do not fit its acquisition.
    DeviceError
        If there is no such device.
    """
    if not isinstance(scan, Scan):
        raise InputError(
            f"problem_for takes a Scan, got a {type(scan).__name__}: read one by recon3d.load, or make one of a volume "
            "by recon3d.simulate."
        )
    try:
        device = torch.device(device)
    except RuntimeError:
        raise DeviceError(f"A device is named cpu, cuda or cuda:N, got '{device}'.") from None
    A = acquisition_for(scan.kind)(scan, device, dtype)
    blocks = tuple(_tensor(block, device, dtype) for block in scan.blocks)
    y = Blocks(blocks) if isinstance(scan.data, tuple) else blocks[0]
    _check_shapes(scan, A)
    noise = NoiseModel.from_scan(scan, device, dtype)
    if not noise.is_known and isinstance(A, CartesianEncoding):
        noise = NoiseModel(corner_noise(blocks[0]))
    mask = None if support is None else _support(support, scan, device, dtype)
    return Problem(
        y=y,
        A=A,
        noise=noise,
        grid=scan.grid,
        units=scan.units,
        support=mask,
        calibration=dict(scan.calibration),
        times_s=frame_times_s(scan),
        name=scan.name,
        kind=str(scan.acquisition.get("modality", scan.kind)),
        signed=bool(scan.acquisition.get("signed", False)) or (isinstance(A.domain, Space) and A.domain.is_complex),
    )


def _support(support: NDArray[Any], scan: Scan, device: torch.device, dtype: torch.dtype) -> Tensor:
    mask = np.asarray(support, dtype=np.float32)
    if mask.shape != tuple(scan.grid.shape) or not ((mask >= 0) & (mask <= 1)).all() or not mask.any():
        raise InputError(
            f"A support holds numbers from 0 to 1, not all 0, on the grid {tuple(scan.grid.shape)}; got shape "
            f"{mask.shape} with values from {mask.min():g} to {mask.max():g}."
        )
    return _tensor(mask, device, dtype)


def _joined(x: Tensor, dim: int) -> Tensor:
    first = x.select(dim, 0)
    length = torch.linalg.vector_norm(x, dim=dim)
    return torch.polar(length, first.angle()) if x.is_complex() else length


def _check_shapes(scan: Scan, A: LinearOperator) -> None:
    spaces = A.range.spaces if isinstance(A.range, BlockSpace) else (A.range,)
    came = tuple(block.shape for block in scan.blocks)
    wanted = tuple(space.shape for space in spaces)
    named = {space.axes for space in spaces}
    if (
        len({len(axes) for axes in (*named, scan.axes)}) > 1
        or len(came) != len(wanted)
        or (came == wanted and named != {scan.axes})
    ):
        raise InputError(
            f"The acquisition of '{scan.name}' describes {_blocks(len(wanted))} with axes "
            f"{' and '.join(map(str, sorted(named)))}, the file holds {_blocks(len(came))} with axes {scan.axes}: "
            "check the axis order."
        )
    if came != wanted:
        raise InputError(
            f"The acquisition of '{scan.name}' describes data {_describe(wanted, scan.axes)}, the file holds "
            f"{_describe(came, scan.axes)}: check the number of views or lines, the axis order and the detector size."
        )


def _blocks(count: int) -> str:
    return "one array" if count == 1 else f"{count} arrays"


def _describe(shapes: tuple[tuple[int, ...], ...], axes: tuple[str, ...]) -> str:
    if len(shapes) == 1:
        return "(" + ", ".join(f"{a} {n}" for a, n in zip(axes, shapes[0], strict=True)) + ")"
    return f"in {len(shapes)} blocks of " + ", ".join(map(str, shapes[:3])) + (" ..." if len(shapes) > 3 else "")


def _tensor(array: NDArray[Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    precise = dtype in (torch.float64, torch.complex128)
    if np.iscomplexobj(array):
        wanted = torch.complex128 if precise else torch.complex64
    else:
        wanted = torch.float64 if precise else torch.float32
    array = np.ascontiguousarray(array)
    if array.dtype.itemsize > 8 and array.dtype.kind == "f":
        array = array.astype(np.float64)
    if not array.flags.writeable or array.dtype.byteorder not in ("=", "|"):
        array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array).to(device, wanted)
