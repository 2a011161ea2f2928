"""Tomography geometry as a frozen value: source, detector centre and detector steps of every view, in mm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operators.errors import GeometryError

Kind = Literal["parallel", "fan", "cone"]
Detector = Literal["flat", "curved"]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class TomographyGeometry:
    """Where the rays of a CT scan run: one row of twelve numbers per view, as in ASTRA's `*_vec`.

    A row holds four vectors (x, y, z) in mm: the source (fan, cone) or the ray direction (parallel), the detector
    centre, the step u from one column to the next and the step v from one row to the next. The rotation axis is
    x = y = 0.

    Parallel and fan scans are **stacks of two-dimensional problems**: detector row r sees slice z = r alone, the row
    pitch is the slice pitch, and every row of a fan scan has its source in its own plane. A cone scan has one source
    point per view and a detector anywhere opposite: circular, helical, tilted, a C-arm on a path of its own.

    Parameters
    ----------
    kind : "parallel", "fan" or "cone"
    vectors : array (view, 12), mm
    n_rows, n_columns : detector pixels along v and u
    detector : "flat", or "curved" (fan, cone): columns at equal angles |u| / D on a circle (for a cone a cylinder along
        v) around the source, D being the distance from the source to the detector centre (for a cone at right angles
        to v) and u the step along the arc at that centre

    Raises
    ------
    GeometryError
        For a geometry that cannot exist: no views, numbers that are not finite, a pitch of zero, a detector seen
        edge-on, a source on the detector, rays of a parallel or fan scan that leave their slice.
    """

    kind: Kind
    vectors: FloatArray
    n_rows: int
    n_columns: int
    detector: Detector = "flat"

    def __post_init__(self) -> None:
        if self.kind not in ("parallel", "fan", "cone"):
            raise GeometryError(f"A geometry is of kind 'parallel', 'fan' or 'cone', got {self.kind!r}.")
        if self.detector not in ("flat", "curved") or (self.kind == "parallel" and self.detector == "curved"):
            raise GeometryError(f"A {self.kind} detector is 'flat', or 'curved' if fan or cone; got {self.detector!r}.")
        vectors = np.array(self.vectors, dtype=np.float64)
        vectors += 0.0  # turns -0.0 into 0.0: equal values, equal hashes
        if vectors.ndim != 2 or vectors.shape[0] < 1 or vectors.shape[1] != 12:
            raise GeometryError(f"A geometry needs vectors (view, 12) of at least one view, got shape {vectors.shape}.")
        if not np.isfinite(vectors).all():
            view = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise GeometryError(f"The geometry of view {view} holds NaN or infinity; every number must be finite.")
        for name in ("n_rows", "n_columns"):
            n = getattr(self, name)
            if int(n) != n or n < 1:
                raise GeometryError(f"A detector needs a whole number of {name} from 1, got {n}.")
            object.__setattr__(self, name, int(n))
        vectors.flags.writeable = False
        object.__setattr__(self, "vectors", vectors)
        if self.kind == "cone":
            self._check_cone_views()
        else:
            self._check_views()

    def _check_cone_views(self) -> None:
        u, v, towards = self.column_step_mm, self.row_step_mm, self.detector_centre_mm - self.ray_source
        lengths = [np.linalg.norm(vector, axis=1) for vector in (u, v, towards)]
        if (lengths[0] == 0).any() or (lengths[1] == 0).any():
            raise GeometryError("A detector needs a column step and a row step that are not zero.")
        if (lengths[2] == 0).any():
            raise GeometryError("Rays need a direction, but a source lies on its detector.")
        across = np.abs((np.cross(u, v) * towards).sum(axis=1)) / (lengths[0] * lengths[1] * lengths[2])
        if (across < 1e-6).any():
            view = int(np.argmin(across))
            raise GeometryError(
                f"The detector of view {view} is seen edge-on, or its rows run along its columns: "
                "u, v and the central ray span no space."
            )
        if self.detector == "curved":
            skew = np.abs((u * v).sum(axis=1)) / lengths[1] + np.abs((u * towards).sum(axis=1)) / lengths[2]
            if (skew > 1e-6 * lengths[0]).any():
                raise GeometryError(
                    "The column step of a curved detector is a tangent, at right angles to its rows and to the "
                    "line from the source to the detector centre."
                )
            if (self.half_fan_rad >= math.pi / 2).any():
                raise GeometryError(
                    "A curved detector spans less than 180 degrees of its circle; check column_mm, the arc."
                )

    def _check_views(self) -> None:
        u, v = self.column_step_mm, self.row_step_mm
        towards = -self.ray_source if self.kind == "parallel" else self.detector_centre_mm - self.ray_source
        size = np.linalg.norm(u, axis=1) * np.linalg.norm(towards, axis=1)
        if (np.linalg.norm(u, axis=1) == 0).any() or (v[:, 2] == 0).any():
            raise GeometryError("A detector needs a column step and a row step that are not zero.")
        if (size == 0).any():
            raise GeometryError("Rays need a direction, but one is zero, or a source lies on its detector.")
        across = np.abs(u[:, 0] * towards[:, 1] - u[:, 1] * towards[:, 0])
        if (across < 1e-6 * size).any():
            view = int(np.argmin(across / size))
            raise GeometryError(f"The detector of view {view} is seen edge-on: its columns run along the rays.")
        out_of_slice = np.abs(u[:, 2]) + np.abs(towards[:, 2]) + np.abs(v[:, :2]).sum(axis=1)
        lengths = np.linalg.norm(u, axis=1) + np.linalg.norm(towards, axis=1) + np.abs(v[:, 2])
        if (out_of_slice > 1e-9 * lengths).any() or np.ptp(v[:, 2]) > 1e-9 * abs(v[0, 2]):
            raise GeometryError(
                f"A {self.kind} geometry is a stack of slices: rays and columns stay in one slice (z), "
                "rows step along z alone and by the same length in every view."
            )
        if np.ptp(self.detector_centre_mm[:, 2]) > 1e-6 * abs(v[0, 2]):
            raise GeometryError(f"A {self.kind} geometry is a stack of slices: the detector keeps its z in every view.")
        if self.detector == "curved" and (across < (1 - 1e-9) * size).any():
            raise GeometryError(
                "The column step of a curved detector is a tangent, at right angles to the central ray."
            )
        if self.detector == "curved" and (self.half_fan_rad >= math.pi / 2).any():
            raise GeometryError(
                "A curved detector spans less than 180 degrees of its circle; check column_mm, the arc."
            )

    @classmethod
    def parallel(
        cls,
        angles_rad: ArrayLike,
        n_columns: int,
        column_mm: float = 1.0,
        n_rows: int = 1,
        row_mm: float = 1.0,
        *,
        detector_offset_mm: float = 0.0,
        axis_shift_mm: float = 0.0,
        row_centre_mm: float = 0.0,
    ) -> TomographyGeometry:
        """Parallel beam: at angle 0 rays run along y and columns step along +x; angles turn from x towards y.

        Parameters
        ----------
        angles_rad : any list of angles
        n_columns, column_mm, n_rows, row_mm : detector pixels and their pitch; the row pitch is the slice pitch
        detector_offset_mm : how far the detector centre lies along +u from the central ray
        axis_shift_mm : how far the rotation axis lies along +u from the central ray (for a parallel beam the opposite
            of a detector offset)
        row_centre_mm : z of the detector centre
        """
        angles = _checked_angles(angles_rad)
        _check_positive(column_mm=column_mm, row_mm=row_mm)
        _check_finite(detector_offset_mm=detector_offset_mm, axis_shift_mm=axis_shift_mm, row_centre_mm=row_centre_mm)
        across, along = _axes_at(angles)
        vectors = np.zeros((angles.size, 12))
        vectors[:, 0:2] = -along  # ASTRA's sign
        vectors[:, 3:5] = (detector_offset_mm - axis_shift_mm) * across
        vectors[:, 5] = row_centre_mm
        vectors[:, 6:8] = column_mm * across
        vectors[:, 11] = row_mm
        return cls("parallel", vectors, n_rows, n_columns)

    @classmethod
    def fan(
        cls,
        angles_rad: ArrayLike,
        source_to_axis_mm: float,
        source_to_detector_mm: float,
        n_columns: int,
        column_mm: float = 1.0,
        n_rows: int = 1,
        row_mm: float = 1.0,
        *,
        detector: Detector = "flat",
        detector_offset_mm: float = 0.0,
        axis_shift_mm: float = 0.0,
        row_centre_mm: float = 0.0,
    ) -> TomographyGeometry:
        """Fan beam: at angle 0 the source lies at y = -source_to_axis_mm and columns step along +x.

        Parameters
        ----------
        angles_rad : any list of source angles, from x towards y
        source_to_axis_mm : distance from source to rotation axis, along the central ray
        source_to_detector_mm : distance from source to detector along the central ray; the radius of a curved detector
        n_columns, column_mm, n_rows, row_mm : detector pixels and their pitch *on the detector* (along the arc where it
            is curved); the row pitch is the slice pitch
        detector : "flat" or "curved" (circle around the source)
        detector_offset_mm : how far the detector centre lies along +u (along the arc) from the central ray
        axis_shift_mm : how far the rotation axis lies along +u from the central ray
        row_centre_mm : z of the detector centre
        """
        angles = _checked_angles(angles_rad)
        _check_positive(
            column_mm=column_mm,
            row_mm=row_mm,
            source_to_axis_mm=source_to_axis_mm,
            source_to_detector_mm=source_to_detector_mm,
        )
        _check_finite(detector_offset_mm=detector_offset_mm, axis_shift_mm=axis_shift_mm, row_centre_mm=row_centre_mm)
        if source_to_detector_mm < source_to_axis_mm:
            raise GeometryError(
                "The detector must not lie between source and axis: source_to_detector_mm "
                f"({source_to_detector_mm:g}) is less than source_to_axis_mm ({source_to_axis_mm:g})."
            )
        across, along = _axes_at(angles)
        source = -axis_shift_mm * across - source_to_axis_mm * along
        turn = detector_offset_mm / source_to_detector_mm if detector == "curved" else 0.0
        centre_across = source_to_detector_mm * math.sin(turn) if detector == "curved" else detector_offset_mm
        centre = source + centre_across * across + source_to_detector_mm * math.cos(turn) * along
        vectors = np.zeros((angles.size, 12))
        vectors[:, 0:2] = source
        vectors[:, 3:5] = centre
        vectors[:, [2, 5]] = row_centre_mm
        vectors[:, 6:8] = column_mm * (math.cos(turn) * across - math.sin(turn) * along)
        vectors[:, 11] = row_mm
        return cls("fan", vectors, n_rows, n_columns, detector)

    @classmethod
    def cone(
        cls,
        angles_rad: ArrayLike,
        source_to_axis_mm: float,
        source_to_detector_mm: float,
        n_columns: int,
        column_mm: float = 1.0,
        n_rows: int = 1,
        row_mm: float = 1.0,
        *,
        detector: Detector = "flat",
        detector_offset_mm: float = 0.0,
        row_offset_mm: float = 0.0,
        axis_shift_mm: float = 0.0,
        tilt_rad: float = 0.0,
        source_z_mm: float = 0.0,
    ) -> TomographyGeometry:
        """Cone beam on a circle: at angle 0 the source lies at y = -source_to_axis_mm, columns step along +x, rows +z.

        Parameters
        ----------
        angles_rad : any list of source angles, from x towards y
        source_to_axis_mm : distance from source to rotation axis, along the central ray
        source_to_detector_mm : distance from source to detector along the central ray; the radius of a curved detector
        n_columns, column_mm, n_rows, row_mm : detector pixels and their pitch *on the detector* (columns along the arc
            where it is curved)
        detector : "flat" or "curved" (cylinder around the source, along the rows' direction)
        detector_offset_mm : how far the detector centre lies along +u (along the arc) from the central ray
        row_offset_mm : how far the detector centre lies along +v from the central ray
        axis_shift_mm : how far the rotation axis lies along +u from the central ray
        tilt_rad : turn of the detector about the central ray, from u towards v
        source_z_mm : z of the circle on which the source turns
        """
        return cls.helical(
            angles_rad,
            0.0,
            source_to_axis_mm,
            source_to_detector_mm,
            n_columns,
            column_mm,
            n_rows,
            row_mm,
            detector=detector,
            detector_offset_mm=detector_offset_mm,
            row_offset_mm=row_offset_mm,
            axis_shift_mm=axis_shift_mm,
            tilt_rad=tilt_rad,
            source_z_mm=source_z_mm,
        )

    @classmethod
    def helical(
        cls,
        angles_rad: ArrayLike,
        advance_mm: float,
        source_to_axis_mm: float,
        source_to_detector_mm: float,
        n_columns: int,
        column_mm: float = 1.0,
        n_rows: int = 1,
        row_mm: float = 1.0,
        *,
        detector: Detector = "flat",
        detector_offset_mm: float = 0.0,
        row_offset_mm: float = 0.0,
        axis_shift_mm: float = 0.0,
        tilt_rad: float = 0.0,
        source_z_mm: float = 0.0,
    ) -> TomographyGeometry:
        """Cone beam on a helix: source and detector advance along z by `advance_mm` for each full turn of the angles.

        Half way between the smallest and the largest angle the source stands at `source_z_mm`. Angles count turns, so
        they run beyond 2 pi. Everything else is as for `cone`.
        """
        angles = _checked_angles(angles_rad)
        _check_positive(
            column_mm=column_mm,
            row_mm=row_mm,
            source_to_axis_mm=source_to_axis_mm,
            source_to_detector_mm=source_to_detector_mm,
        )
        _check_finite(
            advance_mm=advance_mm,
            detector_offset_mm=detector_offset_mm,
            row_offset_mm=row_offset_mm,
            axis_shift_mm=axis_shift_mm,
            tilt_rad=tilt_rad,
            source_z_mm=source_z_mm,
        )
        if source_to_detector_mm < source_to_axis_mm:
            raise GeometryError(
                "The detector must not lie between source and axis: source_to_detector_mm "
                f"({source_to_detector_mm:g}) is less than source_to_axis_mm ({source_to_axis_mm:g})."
            )
        across, along, up = np.zeros((3, angles.size, 3))
        across[:, :2], along[:, :2] = _axes_at(angles)
        up[:, 2] = 1.0
        u_hat = math.cos(tilt_rad) * across + math.sin(tilt_rad) * up
        v_hat = math.cos(tilt_rad) * up - math.sin(tilt_rad) * across
        turns = (angles - 0.5 * (angles.min() + angles.max())) / (2 * math.pi)
        source = -axis_shift_mm * across - source_to_axis_mm * along + (source_z_mm + advance_mm * turns)[:, None] * up
        turn = detector_offset_mm / source_to_detector_mm if detector == "curved" else 0.0
        centre_across = source_to_detector_mm * math.sin(turn) if detector == "curved" else detector_offset_mm
        centre = source + centre_across * u_hat + source_to_detector_mm * math.cos(turn) * along + row_offset_mm * v_hat
        step = column_mm * (math.cos(turn) * u_hat - math.sin(turn) * along)
        vectors = np.concatenate((source, centre, step, row_mm * v_hat), axis=1)
        return cls("cone", vectors, n_rows, n_columns, detector)

    @classmethod
    def from_vectors(
        cls, vectors: ArrayLike, n_rows: int, n_columns: int, detector: Detector = "flat"
    ) -> TomographyGeometry:
        """Cone beam from vectors measured for each view, shape (view, 12) in mm, as for a C-arm."""
        return cls("cone", np.asarray(vectors), n_rows, n_columns, detector)

    @property
    def n_views(self) -> int:
        return int(self.vectors.shape[0])

    def __len__(self) -> int:
        return self.n_views

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the projections: (view, row, column)."""
        return self.n_views, self.n_rows, self.n_columns

    @property
    def ray_source(self) -> FloatArray:
        """Source position in mm (fan, cone) or ray direction (parallel), shape (view, 3)."""
        return self.vectors[:, 0:3]

    @property
    def detector_centre_mm(self) -> FloatArray:
        """Shape (view, 3), as (x, y, z)."""
        return self.vectors[:, 3:6]

    @property
    def column_step_mm(self) -> FloatArray:
        """u, shape (view, 3)."""
        return self.vectors[:, 6:9]

    @property
    def row_step_mm(self) -> FloatArray:
        """v, shape (view, 3)."""
        return self.vectors[:, 9:12]

    @property
    def row_mm(self) -> float:
        """Row pitch along z, which is the slice pitch."""
        return float(self.vectors[0, 11])

    @property
    def row_centre_mm(self) -> float:
        """z of the detector centre."""
        return float(self.vectors[0, 5])

    @property
    def angles_rad(self) -> FloatArray:
        """Angle of each view in [0, 2 pi): of the ray direction (parallel) or of the source about the axis."""
        return np.mod(np.arctan2(self.vectors[:, 0], -self.vectors[:, 1]), 2 * math.pi)

    @property
    def source_to_detector_mm(self) -> FloatArray:
        """Distance from the source to the detector, per view (fan, cone): to its centre, at right angles to v."""
        if self.kind == "parallel":
            raise GeometryError("A parallel beam has no source.")
        towards = self.detector_centre_mm - self.ray_source
        v_hat = self.row_step_mm / np.linalg.norm(self.row_step_mm, axis=1, keepdims=True)
        return np.linalg.norm(towards - (towards * v_hat).sum(axis=1, keepdims=True) * v_hat, axis=1)

    @property
    def normal(self) -> FloatArray:
        """Unit vectors (view, 3) at right angles to the detector at its centre, away from the source (fan, cone)."""
        across = np.cross(self.column_step_mm, self.row_step_mm)
        across *= np.sign((across * (self.detector_centre_mm - self.ray_source)).sum(axis=1, keepdims=True))
        return across / np.linalg.norm(across, axis=1, keepdims=True)

    @property
    def half_fan_rad(self) -> FloatArray:
        """Half the angle a curved detector spans around the source, to its outermost column centres, per view."""
        return 0.5 * (self.n_columns - 1) * np.linalg.norm(self.column_step_mm, axis=1) / self.source_to_detector_mm

    def columns_of_rays(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The rays of a cone scan: row r and column c of view i run along ``first[i, c] + r step[i]`` from source[i].

        Returns
        -------
        source (view, 3), first (view, column, 3), step (view, 3) : mm; directions have any length
        """
        if self.kind != "cone":
            raise GeometryError(f"Only cone rays have slopes in z; the rays of a {self.kind} scan are `rays()`.")
        columns = (np.arange(self.n_columns) - 0.5 * (self.n_columns - 1))[:, None]
        u, v = self.column_step_mm[:, None], self.row_step_mm
        first = (self.detector_centre_mm - self.ray_source - 0.5 * (self.n_rows - 1) * v)[:, None]
        if self.detector == "flat":
            return self.ray_source, first + columns * u, v
        radius_mm = self.source_to_detector_mm[:, None, None]
        pitch_mm = np.linalg.norm(u, axis=2, keepdims=True)
        angle = columns * pitch_mm / radius_mm
        arc = (np.cos(angle) - 1) * self.normal[:, None] + np.sin(angle) * u / pitch_mm
        return self.ray_source, first + radius_mm * arc, v

    def rays(self) -> tuple[FloatArray, FloatArray]:
        """A point (mm) and a unit direction of every ray.

        Parallel and fan: in its slice, two arrays (view, column, 2) of (x, y). Cone: (view, row, column, 3), (x, y, z).
        """
        if self.kind == "cone":
            source, ahead, step = self.columns_of_rays()
            direction = ahead[:, None] + np.arange(self.n_rows)[:, None, None] * step[:, None, None]
            point = np.ascontiguousarray(np.broadcast_to(source[:, None, None], direction.shape))
            return point, direction / np.linalg.norm(direction, axis=3, keepdims=True)
        columns = np.arange(self.n_columns) - 0.5 * (self.n_columns - 1)
        u = self.column_step_mm[:, None, :2]
        centre = self.detector_centre_mm[:, None, :2]
        first = self.ray_source[:, None, :2]
        if self.kind == "parallel":
            point = centre + columns[:, None] * u
            direction = np.broadcast_to(first, point.shape)
        else:
            if self.detector == "flat":
                direction = centre + columns[:, None] * u - first
            else:
                pitch_mm = np.linalg.norm(u, axis=2, keepdims=True)
                radius_mm = self.source_to_detector_mm[:, None, None]
                angle = columns[:, None] * pitch_mm / radius_mm
                direction = np.cos(angle) * (centre - first) / radius_mm + np.sin(angle) * u / pitch_mm
            point = np.broadcast_to(first, direction.shape)
        return np.ascontiguousarray(point), direction / np.linalg.norm(direction, axis=2, keepdims=True)

    def __getitem__(self, views: int | slice | Sequence[int] | NDArray[Any]) -> TomographyGeometry:
        """The chosen views, by slice, index, list of indices or mask; one index keeps the view axis."""
        rows = self.vectors[[views]] if isinstance(views, int | np.integer) else self.vectors[views]
        return TomographyGeometry(self.kind, rows, self.n_rows, self.n_columns, self.detector)

    def rows(self, start: int, stop: int) -> TomographyGeometry:
        """The detector rows start..stop at the places they have on the whole detector."""
        if not 0 <= start < stop <= self.n_rows:
            raise GeometryError(f"Rows lie within 0..{self.n_rows}, got {start}..{stop}.")
        shift = 0.5 * (start + stop - self.n_rows) * self.row_step_mm
        vectors = self.vectors.copy()
        vectors[:, 3:6] += shift
        if self.kind == "fan":  # each row has its source in its own plane
            vectors[:, 0:3] += shift
        return TomographyGeometry(self.kind, vectors, stop - start, self.n_columns, self.detector)

    def to_dict(self) -> dict[str, Any]:
        """Plain arrays, numbers and strings, for files."""
        return {
            "kind": self.kind,
            "vectors": self.vectors.copy(),
            "n_rows": self.n_rows,
            "n_columns": self.n_columns,
            "detector": self.detector,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TomographyGeometry:
        """The geometry whose `to_dict` this is."""
        return cls(
            values["kind"],
            np.asarray(values["vectors"]),
            int(values["n_rows"]),
            int(values["n_columns"]),
            values["detector"],
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TomographyGeometry):
            return NotImplemented
        same = (self.kind, self.shape, self.detector) == (other.kind, other.shape, other.detector)
        return same and bool(np.array_equal(self.vectors, other.vectors))

    def __hash__(self) -> int:
        return hash((self.kind, self.shape, self.detector, self.vectors.tobytes()))

    def __repr__(self) -> str:
        """Code that makes an equal geometry."""
        return (
            f"TomographyGeometry(kind={self.kind!r}, vectors={self.vectors.tolist()!r}, n_rows={self.n_rows}, "
            f"n_columns={self.n_columns}, detector={self.detector!r})"
        )


def _axes_at(angles_rad: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (view, 2) along the columns and along the central ray, away from the source."""
    cos, sin = np.cos(angles_rad), np.sin(angles_rad)
    return np.stack((cos, sin), axis=1), np.stack((-sin, cos), axis=1)


def _checked_angles(angles_rad: ArrayLike) -> FloatArray:
    angles = np.asarray(angles_rad, dtype=np.float64)
    if angles.ndim != 1 or angles.size == 0:
        raise GeometryError(f"angles_rad is a list of at least one angle, got shape {angles.shape}.")
    if not np.isfinite(angles).all():
        first = int(np.flatnonzero(~np.isfinite(angles))[0])
        raise GeometryError(f"angles_rad[{first}] is {angles[first]}; every view needs a finite angle.")
    return angles


def _check_positive(**lengths_mm: float) -> None:
    for name, value in lengths_mm.items():
        if not (math.isfinite(value) and value > 0):
            raise GeometryError(f"{name} must be a positive length in mm, got {value}.")


def _check_finite(**lengths_mm: float) -> None:
    for name, value in lengths_mm.items():
        if not math.isfinite(value):
            raise GeometryError(f"{name} must be a finite length in mm, got {value}.")
