"""Tomography geometry as a frozen value: source, detector centre and detector steps of every view, in mm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operators.errors import GeometryError
from operators.tomography.geometry_checks import check_cone_views, check_stacked_views
from operators.tomography.orbits import orbit_vectors, parallel_vectors

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
            check_cone_views(self)
        else:
            check_stacked_views(self)

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
        vectors = parallel_vectors(
            angles_rad,
            column_mm,
            row_mm,
            detector_offset_mm=detector_offset_mm,
            axis_shift_mm=axis_shift_mm,
            row_centre_mm=row_centre_mm,
        )
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
        vectors = orbit_vectors(
            angles_rad,
            source_to_axis_mm,
            source_to_detector_mm,
            column_mm,
            row_mm,
            curved=detector == "curved",
            detector_offset_mm=detector_offset_mm,
            axis_shift_mm=axis_shift_mm,
            source_z_mm=row_centre_mm,
        )
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
        advance_mm: float = 0.0,
        detector: Detector = "flat",
        detector_offset_mm: float = 0.0,
        row_offset_mm: float = 0.0,
        axis_shift_mm: float = 0.0,
        tilt_rad: float = 0.0,
        source_z_mm: float = 0.0,
    ) -> TomographyGeometry:
        """Cone beam on a circle or helix: at angle 0 the source is at y = -source_to_axis_mm, columns step +x, rows +z.

        Parameters
        ----------
        angles_rad : any list of source angles, from x towards y; of a helix they count turns, and run beyond 2 pi
        source_to_axis_mm : distance from source to rotation axis, along the central ray
        source_to_detector_mm : distance from source to detector along the central ray; the radius of a curved detector
        n_columns, column_mm, n_rows, row_mm : detector pixels and their pitch *on the detector* (columns along the arc
            where it is curved)
        advance_mm : how far source and detector advance along z for each full turn of the angles; not zero for a helix
        detector : "flat" or "curved" (cylinder around the source, along the rows' direction)
        detector_offset_mm : how far the detector centre lies along +u (along the arc) from the central ray
        row_offset_mm : how far the detector centre lies along +v from the central ray
        axis_shift_mm : how far the rotation axis lies along +u from the central ray
        tilt_rad : turn of the detector about the central ray, from u towards v
        source_z_mm : z of the circle on which the source turns; of a helix, half way between the smallest and the
            largest angle
        """
        vectors = orbit_vectors(
            angles_rad,
            source_to_axis_mm,
            source_to_detector_mm,
            column_mm,
            row_mm,
            curved=detector == "curved",
            advance_mm=advance_mm,
            detector_offset_mm=detector_offset_mm,
            row_offset_mm=row_offset_mm,
            axis_shift_mm=axis_shift_mm,
            tilt_rad=tilt_rad,
            source_z_mm=source_z_mm,
        )
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
