"""Sort the frames of many files into stacks that can each become one volume, and choose among them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from pydicom.uid import UID

from recon3d.errors import InputError
from recon3d.io.dicom.find import Source
from recon3d.io.dicom.frames import Frame, frames_of
from recon3d.io.dicom.geometry import SAME_POSITION_MM, normal_of, plane_name
from recon3d.io.dicom.header import check_pixels, is_image, parse_with_pixel_element, sop_class, value


@dataclass(frozen=True)
class Series:
    """Frames of one volume: `planes[axis][slice]`, `axis` over times or b-values, or of length 1."""

    label: str
    modality: str
    plane: str
    uid: str = field(repr=False)
    planes: tuple[tuple[Frame, ...], ...] = field(repr=False)
    axis: str = ""
    values: tuple[float, ...] = ()
    fault: str = ""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames along the axis, z, y, x)."""
        return (len(self.planes), len(self.planes[0]), *self.planes[0][0].shape)

    def __str__(self) -> str:
        frames, z, y, x = self.shape
        extent = f"{z} x {y} x {x}" if frames == 1 else f"{frames} x {z} x {y} x {x}"
        axis = f" over {self.axis}" if self.axis else ""
        return f"{self.label}: {self.modality or 'image'} {self.plane}, {extent}{axis}" + (
            f" ({self.fault})" if self.fault else ""
        )


def series_in(sources: Sequence[Source]) -> list[Series]:
    """Every stack in the files; objects that are no images are passed over, damaged images are refused."""
    frames: list[Frame] = []
    others: Counter[str] = Counter()
    for source in sources:
        dataset, element = parse_with_pixel_element(source)
        if not is_image(dataset):
            others[UID(sop_class(dataset)).name or "unknown"] += 1
            continue
        if "MOSAIC" in value(dataset, "ImageType", ()):
            raise InputError(
                "The images are mosaics (many slices tiled into one); export them as enhanced multi-frame images."
            )
        check_pixels(dataset, element)
        assert element is not None
        frames += frames_of(dataset, source, element)
    if not frames:
        kinds = ", ".join(f"{n} {_public(name)}" for name, n in sorted(others.items()))
        raise InputError(
            f"No DICOM image was found that can form a volume (found: {kinds}); give the folder of an image series."
        )
    return _labelled(_stacks(frames))


def choose(found: Sequence[Series], series: int | str | None) -> Series:
    """The one series, or the one named by its label or UID."""
    if series is None:
        if len(found) == 1:
            return found[0]
        listing = "; ".join(map(str, found[:20])) + ("; ..." if len(found) > 20 else "")
        raise InputError(f"There are {len(found)} series, choose one with series=: {listing}.")
    chosen = [s for s in found if s.label == str(series)] or [s for s in found if s.uid == str(series)]
    if len(chosen) == 1:
        return chosen[0]
    labels = ", ".join(s.label for s in found[:20])
    raise InputError(f"The series asked for is not there or not one volume; choose one of {labels}.")


def _public(name: str) -> str:
    return name if not name[:1].isdigit() else "private object"


def _stacks(frames: Sequence[Frame]) -> list[Series]:
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        unplaced = (id(frame.source),) if frame.position is None else ()
        kind = (
            frame.series_uid,
            frame.series_number,
            frame.modality,
            frame.sop_class,
            frame.frame_of_reference,
            frame.units,
        )
        groups[(*kind, frame.shape, _rounded(frame.spacing_mm, 4), *unplaced)].append(frame)
    return [series for group in groups.values() for part in _by_orientation(group) for series in _split(part)]


def _rounded(values: Sequence[float] | None, digits: int) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(v, digits) for v in values)


def _by_orientation(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames whose direction cosines agree within rounding."""
    parts: list[list[Frame]] = []
    for frame in frames:
        for part in parts:
            first = part[0].orientation
            if first is None or frame.orientation is None:
                same = first is frame.orientation
            else:
                same = bool(np.abs(np.array(first) - np.array(frame.orientation)).max() < 1e-3)
            if same:
                part.append(frame)
                break
        else:
            parts.append([frame])
    return parts


def _split(frames: Sequence[Frame]) -> list[Series]:
    """One series, over time or b-values where positions repeat, or several where echoes or image types interleave."""
    axis = _along_axis(frames)
    if axis is not None:
        return [axis]
    keys: list[Callable[[Frame], Hashable]] = [lambda f: f.stack, lambda f: f.echo, lambda f: f.image_type]
    keys.append(lambda f: (f.echo, f.image_type))
    for key in keys:
        parts: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in frames:
            parts[key(frame)].append(frame)
        if len(parts) > 1:
            split = [_along_axis(part) for part in parts.values()]
            if all(s is not None for s in split):
                return [s for s in split if s is not None]
    positions = _slots(frames)
    places, count = len(set(positions)), len(frames)
    if places == 1:
        fault = f"all {count} images lie at one position: not a volume"
    else:
        fault = f"{count} images share {places} positions, and neither times nor b-values tell the duplicates apart"
    return [_series([tuple(frames)], fault=fault)]


def _series(
    planes: Sequence[tuple[Frame, ...]], axis: str = "", values: tuple[float, ...] = (), fault: str = ""
) -> Series:
    first = planes[0][0]
    return Series(
        "", first.modality, plane_name(first.orientation), first.series_uid, tuple(planes), axis, values, fault
    )


def _slots(frames: Sequence[Frame]) -> list[int]:
    """Number of the position of each frame, counted along the normal."""
    if frames[0].orientation is None:
        return [0] * len(frames)
    positions = np.array([f.position for f in frames])
    offsets = positions @ normal_of(frames[0].orientation)
    order = np.argsort(offsets, kind="stable")
    slots, slot = [0] * len(frames), 0
    for before, here in pairwise(order):
        slot += bool(offsets[here] - offsets[before] > SAME_POSITION_MM)
        slots[here] = slot
    return slots


def _along_axis(frames: Sequence[Frame]) -> Series | None:
    """The frames as stacks that each cover every position once; None where no attribute sorts them so."""
    slots = _slots(frames)
    places = max(slots) + 1
    if len(frames) == places:
        return _series([_sorted(frames, slots)])
    if len(frames) % places:
        return None
    count = len(frames) // places
    keys: list[Callable[[Frame], Hashable]] = [
        lambda f: (f.b_value, f.direction),
        lambda f: f.temporal_index,
        lambda f: f.trigger_ms,
    ]
    if places > 1:  # several acquisitions at one single position (bolus monitoring) are not a volume
        keys += [lambda f: (f.b_value, f.direction, f.acquisition), lambda f: f.acquisition, lambda f: f.clock_s]
    for key in keys:
        parts: dict[Hashable, list[tuple[Frame, int]]] = defaultdict(list)
        for frame, slot in zip(frames, slots, strict=True):
            parts[key(frame)].append((frame, slot))
        if len(parts) == count and all(len({slot for _, slot in p}) == places == len(p) for p in parts.values()):
            stacks = [_sorted([f for f, _ in parts[k]], [s for _, s in parts[k]]) for k in sorted(parts)]  # type: ignore[type-var]
            weights = [s[0].b_value for s in stacks]
            axis = "b-values" if min(weights) >= 0 and len(set(weights)) > 1 else "time"
            return _series(stacks, axis, _axis_values(axis, stacks))
    if places > 1:
        return _by_rank(frames, slots, places, count)
    return None


def _by_rank(frames: Sequence[Frame], slots: Sequence[int], places: int, count: int) -> Series | None:
    """A scan that visits slice after slice, each at its own time: the n-th visits of all are frame n."""
    visits: list[list[Frame]] = [[] for _ in range(places)]
    for frame, slot in zip(frames, slots, strict=True):
        visits[slot].append(frame)
    for key in (lambda f: f.trigger_ms, lambda f: f.clock_s):
        ordered = [sorted(v, key=key) for v in visits]
        if all(len(v) == count and all(key(b) > key(a) >= 0 for a, b in pairwise(v)) for v in ordered):
            # Frame n must be over before frame n + 1 begins, or it is not one sweep after another.
            stacks = [tuple(v[i] for v in ordered) for i in range(count)]
            if all(max(map(key, a)) < min(map(key, b)) for a, b in pairwise(stacks)):
                return _series(stacks, "time", _axis_values("time", stacks))
    return None


def _sorted(frames: Sequence[Frame], slots: Sequence[int]) -> tuple[Frame, ...]:
    return tuple(frames[i] for i in np.argsort(slots, kind="stable"))


def _axis_values(axis: str, stacks: Sequence[tuple[Frame, ...]]) -> tuple[float, ...]:
    """b-values in s/mm2, or seconds since the first frame; empty where no clock runs forward."""
    if axis == "b-values":
        return tuple(s[0].b_value for s in stacks)
    trigger = [min(f.trigger_ms for f in s) / 1000 for s in stacks]
    clock = [min(f.clock_s for f in s) for s in stacks]
    for times in (trigger, clock):
        if min(times) >= 0 and all(b > a for a, b in pairwise(times)):
            return tuple(round(t - times[0], 6) for t in times)
    return ()


def _labelled(found: Sequence[Series]) -> list[Series]:
    """Labels by series number, with a letter (a, b ... z, aa ...) where one number holds several stacks."""
    ordered = sorted(
        found, key=lambda s: (s.planes[0][0].series_number, s.uid, min(f.instance for p in s.planes for f in p))
    )
    numbers = Counter(s.planes[0][0].series_number for s in ordered)
    seen: Counter[int] = Counter()
    labelled = []
    for series in ordered:
        number = series.planes[0][0].series_number
        label = str(number) + (_letters(seen[number]) if numbers[number] > 1 else "")
        seen[number] += 1
        labelled.append(replace(series, label=label))
    return labelled


def _letters(index: int) -> str:
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
