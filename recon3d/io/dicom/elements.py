"""Values and small items as a DICOM header holds them: decimals, UIDs, 16-bit pixels, codes and references."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import generate_uid
from pydicom.valuerep import format_number_as_ds

from recon3d.errors import InputError

MAX_OBJECT_BYTES = (1 << 32) - 2


def quantised(data: NDArray[Any], units: str) -> tuple[NDArray[Any], float, float]:
    """16-bit values with slope and intercept such that stored * slope + intercept is within half a slope of the data.

    Whole numbers, and HU, keep a slope of one where they fit; anything else gets the full 16 bits over its range.
    """
    if np.iscomplexobj(data):
        raise InputError("DICOM stores real values: take the magnitude of a complex volume first.")
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("The volume holds values that are not finite numbers; they cannot be written to DICOM.")
    if low >= -32768 and high <= 32767 and (units == "HU" or bool(np.array_equal(data, np.rint(data)))):
        return np.rint(data).astype("<i2"), 1.0, 0.0
    # Rounded to what a decimal string of the header can hold before it is used, so that readers see the same numbers.
    intercept = float(decimal(low))
    slope = float(decimal(max((high - low) / 65534, 4 * abs(intercept - low)))) if high > low else 1.0
    stored = np.rint((data.astype(np.float64) - intercept) / slope)
    return np.clip(stored, 0, 65535).astype("<u2"), slope, intercept


def decimal(number: float) -> str:
    """A decimal string of at most 16 characters."""
    number = float(number)
    return format_number_as_ds(0.0 if abs(number) < 1e-14 else number)


def clock_text(seconds: float) -> str:
    """A time of day, counted from midnight."""
    whole = round(seconds * 1e6)
    whole, parts = divmod(whole, 1_000_000)
    return f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{parts:06d}"


def new_uid() -> str:
    """A fresh UID from a random UUID."""
    return str(generate_uid(prefix=None))


def add_missing(ds: Dataset, **values: Any) -> None:
    """Set what a header has to have and does not have yet."""
    for keyword, default in values.items():
        if keyword not in ds:
            setattr(ds, keyword, default)


def item(**values: Any) -> Dataset:
    """A dataset of these elements, by keyword."""
    dataset = Dataset()
    for keyword, content in values.items():
        setattr(dataset, keyword, content)
    return dataset


def coded(code: str, scheme: str, meaning: str) -> Dataset:
    """A coded concept, an item of a code sequence."""
    return item(CodeValue=code, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """A reference to another object."""
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_instance)


def source_image(sop_class: str, sop_instance: str) -> Dataset:
    """A reference to an image that this one was made from."""
    image = reference(sop_class, sop_instance)
    image.PurposeOfReferenceCodeSequence = DicomSequence(
        [coded("121322", "DCM", "Source image for image processing operation")]
    )
    return image
