"""All steps on a CT scan, in the order that makes sense, each told in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.preprocessing.axis import find_axis, find_tilt, untilted
from recon3d.preprocessing.hardening import correct_hardening
from recon3d.preprocessing.stripes import per_sinogram, remove_narrow, remove_stripes
from recon3d.preprocessing.truncation import FEW, extend_edges, truncated_share
from recon3d.preprocessing.views import full_to_half_turn, sort_views
from recon3d.scan import Scan

PREPARED, ASSUMED = "prepared", "assumed"
"""Entries of an acquisition: what was done to the data, and what the file did not say; one sentence per line."""


def sentences(scan: Scan, entry: str = PREPARED) -> list[str]:
    """What was done to a scan, or assumed of it."""
    return [line for line in str(scan.acquisition.get(entry, "")).splitlines() if line]


def preprocess(
    scan: Scan,
    *,
    centre: Literal["file", "auto"] | float = "file",
    tilt: Literal["ignore", "check", "correct"] = "ignore",
    repeated: Literal["keep", "average", "drop"] = "keep",
    stripes: Literal["none", "narrow", "all"] = "none",
    stripe_snr: float = 3.0,
    stripe_widths: tuple[int, int] = (51, 21),
    hardening: Sequence[float] | None = None,
    half_turn: bool = False,
    truncation: Literal["tell", "extend", "refuse"] = "tell",
) -> Scan:
    """A CT scan ready for reconstruction; `acquisition["prepared"]` tells each step.

    Parameters
    ----------
    scan : line integrals (view, row, column) of kind "ct"
    centre : column of the rotation axis (0 is the middle of the first), "auto" to find it (parallel beam), or as in the
        file
    tilt : whether the tilt of the axis on the detector is looked for, and corrected (parallel beam)
    repeated : what becomes of views at the same angle
    stripes : "narrow" by sorting alone, or "all" (`remove_stripes`)
    stripe_snr, stripe_widths : of `remove_stripes`, (large, small) columns
    hardening : coefficients (c1, c2, ...) of the beam hardening polynomial
    half_turn : join opposite views of a full turn (parallel beam)
    truncation : whether an object wider than the detector is told, its views are extended, or it is refused

    Raises
    ------
    InputError
        For a scan that is no CT scan, or one that a step cannot handle: the step is named.
    """
    if scan.kind != "ct" or not isinstance(scan.data, np.ndarray):
        raise InputError(f"'{scan.name}' is a scan of kind '{scan.kind}': the preprocess section is for CT.")
    geometry = TomographyGeometry.from_dict(scan.acquisition)
    if scan.data.shape != geometry.shape:
        return scan  # `problem_for` says what does not fit
    views = _Views(scan, geometry)
    if geometry.kind != "cone":  # the order along a helix is its own
        views.sort(repeated)
    if stripes != "none" and scan.acquisition.get("raster", False):
        stripes = "none"
        views.tell("stripes: none removed, a raster scan has no detector columns that could differ")
    if stripes == "all":
        views.data = remove_stripes(views.data, snr=stripe_snr, large=stripe_widths[0], small=stripe_widths[1])
        views.tell(f"stripes: all kinds removed (snr {stripe_snr:g}, widths {stripe_widths[0]} and {stripe_widths[1]})")
    elif stripes == "narrow":
        views.data = per_sinogram(views.data, lambda sinogram: remove_narrow(sinogram, stripe_widths[1]))
        views.tell(f"stripes: narrow ones removed (width {stripe_widths[1]})")
    if hardening is not None:
        views.data = correct_hardening(views.data, hardening)
        views.tell(f"beam hardening: polynomial {', '.join(f'{c:g}' for c in hardening)}")
    if centre == "auto":
        views.find_axis()
    elif centre != "file":
        views.move_axis(float(centre), "stated")
    views.check_axis()
    if tilt != "ignore":
        views.tilt(correct=tilt == "correct")
    if half_turn:
        views.join_opposite()
    views.truncation(truncation)
    return views.scan()


class _Views:
    """The views of a scan and their geometry on the way through the steps."""

    def __init__(self, scan: Scan, geometry: TomographyGeometry) -> None:
        self.origin = scan
        self.geometry = geometry
        self.data: NDArray[Any] = scan.blocks[0]
        self.told = sentences(scan)
        self.assumed = sentences(scan, ASSUMED)

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)

    def scan(self) -> Scan:
        acquisition = {**self.origin.acquisition, **self.geometry.to_dict()}
        for entry, lines in ((PREPARED, self.told), (ASSUMED, self.assumed)):
            acquisition.pop(entry, None)
            if lines:
                acquisition[entry] = "\n".join(lines)
        return replace(self.origin, data=self.data, acquisition=acquisition)

    def sort(self, repeated: str) -> None:
        if self._weighted():
            return  # weights belong to the views as they are
        angles = _turned(self.geometry)
        order = np.argsort(angles, kind="stable")
        if not _is_round(order):
            self.tell(f"views: {len(angles)} sorted by angle")
        self.data, _, _ = sort_views(self.data, angles)
        self.geometry = self.geometry[order]
        index, _, notes = sort_views(np.arange(len(angles)), angles[order], "keep" if repeated == "keep" else "drop")
        if notes:
            self.data, _, notes = sort_views(self.data, angles[order], repeated)
            self.geometry = self.geometry[index]
            self.told += notes

    def find_axis(self) -> None:
        self._need_parallel("centre: auto", "state the column by a number")
        self.move_axis(find_axis(self.data, _turned(self.geometry)), "found")

    def move_axis(self, column: float, how: str) -> None:
        before = axis_column(self.geometry)
        self.geometry = with_axis(self.geometry, column)
        self.assumed = [line for line in self.assumed if not line.startswith("rotation axis:")]
        self.tell(f"rotation axis: column {column:.2f} {how} (was {before:.2f} of {self.geometry.n_columns})")

    def check_axis(self) -> None:
        column, n = axis_column(self.geometry), self.geometry.n_columns
        if not -0.5 <= column <= n - 0.5:
            raise InputError(
                f"The rotation axis of '{self.origin.name}' falls on column {column:.1f}, off the detector of {n} "
                "columns: check its unit (pixels or mm), or let it be found by preprocess.centre=auto."
            )

    def tilt(self, correct: bool) -> None:
        self._need_parallel("tilt", "leave it out")
        if self.geometry.n_rows < 3:
            self.tell(f"tilt of the axis: not seen on {self.geometry.n_rows} rows")
            return
        column, tilt_rad = find_tilt(self.data, _turned(self.geometry))
        drift = math.tan(tilt_rad) * (self.geometry.n_rows - 1)
        self.tell(f"tilt of the axis: {math.degrees(tilt_rad):.3f} degrees, {drift:.2f} columns from first to last row")
        if correct and abs(drift) > 0.1:
            self.data = untilted(self.data, tilt_rad, column)
            self.geometry = with_axis(self.geometry, column)
            self.tell("tilt of the axis: corrected by turning the views")

    def join_opposite(self) -> None:
        self._need_parallel("half_turn", "leave it out: fan and cone beams use the full turn")
        if self._weighted():
            raise InputError(
                "preprocess.half_turn joins views, but the noise weights are of single ones: leave it out."
            )
        angles = _turned(self.geometry)
        before = len(angles)
        self.data, angles, column = full_to_half_turn(self.data, angles, axis_column(self.geometry))
        keep = np.flatnonzero(np.isin(_turned(self.geometry), angles))
        self._widen(self.data.shape[2], column, keep)
        self.tell(f"full turn to half a turn: {before} views joined to {len(angles)} of {self.data.shape[2]} columns")

    def truncation(self, choice: str) -> None:
        left, right = truncated_share(self.data)
        if max(left, right) < FEW:
            return
        found = f"the object reaches over the detector in {max(left, right):.0%} of the rows of the views"
        if choice == "refuse":
            raise InputError(
                f"The detector is too small for '{self.origin.name}': {found}; use a wider one, or "
                "preprocess.truncation=extend."
            )
        if choice == "tell" or self._weighted() or self.geometry.detector == "curved":
            self.tell(f"truncation: {found}; values near its edge are not quantitative (truncation=extend helps)")
            return
        n = self.geometry.n_columns
        extra = n // 2
        column = axis_column(self.geometry)
        self.data = extend_edges(self.data, extra)
        self._widen(n + 2 * extra, column + extra, np.arange(len(self.data)))
        self.tell(f"truncation: {found}; {extra} columns continued at either end")

    def _widen(self, n_columns: int, column: float, keep: NDArray[np.integer[Any]]) -> None:
        """Views on a wider detector of the same pitch on which the axis falls on `column`."""
        old = self.geometry
        # Column 0 of the old detector is column `column - axis_column(old)` of the new one.
        first = column - axis_column(old)
        vectors = old.vectors[keep].copy()
        vectors[:, 3:6] += ((n_columns - 1) / 2 - (old.n_columns - 1) / 2 - first) * vectors[:, 6:9]
        self.geometry = TomographyGeometry(old.kind, vectors, old.n_rows, n_columns, old.detector)

    def _need_parallel(self, step: str, advice: str) -> None:
        if self.geometry.kind != "parallel":
            raise InputError(f"preprocess.{step} is for parallel beams, this scan is a {self.geometry.kind}: {advice}.")

    def _weighted(self) -> bool:
        return any(np.ndim(value) >= 3 for value in self.origin.noise.values())


def axis_column(geometry: TomographyGeometry) -> float:
    """The detector column on which the rotation axis (x = y = 0) falls, the mean over views; flat detectors."""
    u = geometry.column_step_mm[:, :2]
    towards = geometry.ray_source[:, :2]
    centre = geometry.detector_centre_mm[:, :2]
    if geometry.kind == "parallel":
        start, direction = np.zeros_like(u), towards
    else:
        start, direction = towards, -towards
    # start + t direction = centre + s u, solved for s by the two-dimensional cross product with the direction
    gap = start - centre
    s = (gap[:, 0] * direction[:, 1] - gap[:, 1] * direction[:, 0]) / (
        u[:, 0] * direction[:, 1] - u[:, 1] * direction[:, 0]
    )
    return float(s.mean() + (geometry.n_columns - 1) / 2)


def with_axis(geometry: TomographyGeometry, column: float) -> TomographyGeometry:
    """The geometry whose axis falls on `column`: source and detector moved together along the columns."""
    u = geometry.column_step_mm
    demagnified = 1.0
    if geometry.kind != "parallel":
        to_axis = np.linalg.norm(geometry.ray_source[:, :2], axis=1)
        demagnified = float(np.mean(to_axis / geometry.source_to_detector_mm))
    shift = (axis_column(geometry) - column) * demagnified * u
    vectors = geometry.vectors.copy()
    vectors[:, 3:6] += shift
    if geometry.kind != "parallel":
        vectors[:, 0:3] += shift
    return TomographyGeometry(geometry.kind, vectors, geometry.n_rows, geometry.n_columns, geometry.detector)


def _turned(geometry: TomographyGeometry) -> NDArray[np.float64]:
    """Angles without a jump inside the arc: a geometry keeps them modulo a full turn, here they start after the gap."""
    angles = geometry.angles_rad
    ranked = np.sort(angles)
    gaps = np.diff(ranked, append=ranked[0] + 2 * math.pi)
    widest = int(np.argmax(gaps))
    if gaps[widest] < 1.5 * float(np.median(gaps)):  # a full turn has no gap to start after
        return angles
    return np.where(angles > ranked[widest], angles - 2 * math.pi, angles)


def _is_round(order: NDArray[np.integer[Any]]) -> bool:
    """Whether views in that order follow each other around the turn, forwards or backwards."""
    step = np.mod(np.diff(order), len(order))
    return bool((step == 1).all() or (step == len(order) - 1).all())
