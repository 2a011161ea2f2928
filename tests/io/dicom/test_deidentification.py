"""No identifier survives: not in any VR, not in private tags, not in the pixels' stream, not in names or reports."""

from __future__ import annotations

import zipfile

import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from recon3d.errors import InputError
from recon3d.io import dicom

SECRET = "ZQXJW"
NUMBER = 987654321
SAMPLES = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), SECRET),
    **dict.fromkeys(("OB", "UN"), SECRET.encode() + b"\0"),
    "OW": (SECRET + "Y").encode(),
    "OF": b"ZQXJWZQX",
    "OD": b"ZQXJWZQX",
    "OL": b"ZQXJWZQX",
    "OV": b"ZQXJWZQX",
    "DA": "19530411",
    "DT": "19530411093007",
    "TM": "093007",
    "AS": "071Y",
    "DS": str(NUMBER),
    "IS": str(NUMBER),
    "UI": f"1.2.{NUMBER}.7",
    "FD": float(NUMBER),
    "FL": float(NUMBER),
    "SL": NUMBER,
    "UL": NUMBER,
    "SV": NUMBER,
    "UV": NUMBER,
    "SS": 31739,
    "US": 31739,
    "AT": 0x00100010,
}
TRACES = [SECRET.encode(), b"ZQXJ", b"19530411", b"093007", b"071Y", str(NUMBER).encode(), NUMBER.to_bytes(4, "little")]
TRACES += [np.float32(NUMBER).tobytes(), np.float64(NUMBER).tobytes(), b"Doe", b"Jane", b"SECRET"]
TRACES += [b"1.2.3.4", b"1.2.3.5"]


def full_of_identifiers(ds: Dataset) -> Dataset:
    """An element of every VR, standard (hundreds of attributes), private and nested, each with an identifier."""
    # Attributes that the image needs to be read keep their values.
    needed = {e.keyword for e in ds} | {"NumberOfFrames", "PlanarConfiguration", "ModalityLUTSequence"}
    needed |= {"LossyImageCompression", "FloatPixelData", "DoubleFloatPixelData", "DataSetTrailingPadding"}
    needed |= {"ExtendedOffsetTable", "ExtendedOffsetTableLengths"}
    for tag, (vr, _, _, retired, keyword) in pydicom.datadict.DicomDictionary.items():
        group = tag >> 16
        if keyword in needed or vr not in SAMPLES or retired or not keyword or group < 8 or group >= 0x5000:
            continue
        if "PixelSpacing" in keyword or "FunctionalGroup" in keyword or keyword == "PixelPaddingValue":
            continue
        ds.add_new(tag, vr, SAMPLES[vr])
    block = ds.private_block(0x0019, "SECRET MAKER", create=True)
    inner = Dataset()
    for index, (vr, sample) in enumerate(SAMPLES.items()):
        block.add_new(index, vr, sample)
        inner.add_new(0x00211000 + index, vr, sample)
    inner.PatientName, inner.PatientID = "Doe^Jane", SECRET
    block.add_new(0xF0, "SQ", [inner])
    for sequence in ("ReferencedStudySequence", "RequestAttributesSequence", "PixelMeasuresSequence"):
        setattr(ds, sequence, [inner])
    ds.add_new(0x60000022, "LO", SECRET)
    ds.add_new(0x60003000, "OW", SAMPLES["OW"])
    ds.BurnedInAnnotation = "NO"
    return ds


@pytest.mark.filterwarnings("ignore")  # pydicom warns while the file is made
def test_no_identifier_survives(series, image, tmp_path, caplog, capfd):
    slices = [full_of_identifiers(image(0))]
    folder = series(SECRET, slices)
    for file in folder.iterdir():
        raw = bytearray(file.read_bytes())
        raw[:8] = b"ZQXJWDoe"  # in the preamble too
        file.write_bytes(raw)
    caplog.clear()
    report = dicom.deidentify(folder, tmp_path / "clean")
    clean = sorted((tmp_path / "clean").iterdir())
    assert len(slices[0]) > 2000
    assert report.images == 1
    assert report.dropped_elements > 2000
    told = repr(report) + caplog.text + "".join(capfd.readouterr()) + "".join(p.name for p in clean)
    assert "Faces are not removed" in report.note
    for file in clean:
        raw = file.read_bytes()
        assert [t for t in TRACES if t in raw] == []
        ds = pydicom.dcmread(file)
        assert ds.PatientIdentityRemoved == "YES"
        assert (str(ds.PatientName), ds.PatientID) == ("ANONYMOUS", "ANONYMOUS")
        assert not any(e.tag.is_private for e in ds.iterall())
        assert [e.keyword for e in ds.iterall() if e.VR in ("US", "SS") and e.value == 31739] == []
    assert not any(t.decode("latin1") in told for t in TRACES)
    before, after = dicom.read(folder), dicom.read(tmp_path / "clean")
    assert np.array_equal(before.data, after.data)
    assert before.grid == after.grid


def test_uids_stay_consistent(series, image, tmp_path):
    first = series("first", [image(z) for z in range(2)])
    second = series("second", [image(z, SeriesInstanceUID="1.9") for z in range(2)])
    for name, folder in (("a", first), ("b", second), ("c", first)):
        dicom.deidentify(folder, tmp_path / name, key=b"one secret")
    dicom.deidentify(first, tmp_path / "d")
    a, b, c, d = ([pydicom.dcmread(f) for f in sorted((tmp_path / name).iterdir())] for name in "abcd")
    assert a[0].StudyInstanceUID == a[1].StudyInstanceUID == b[0].StudyInstanceUID == c[0].StudyInstanceUID
    assert a[0].FrameOfReferenceUID == b[0].FrameOfReferenceUID
    assert a[0].SeriesInstanceUID == a[1].SeriesInstanceUID != b[0].SeriesInstanceUID
    assert [x.SOPInstanceUID for x in a] == [x.SOPInstanceUID for x in c] != [x.SOPInstanceUID for x in b]
    assert d[0].StudyInstanceUID != a[0].StudyInstanceUID


def test_a_comment_in_the_compressed_stream_goes(series, image, tmp_path):
    values = np.arange(32 * 32, dtype="<i2").reshape(32, 32)
    stream = encode_array(values)
    at = stream.index(b"\xff\x52")  # before COD
    comment = b"\xff\x64" + (4 + 8).to_bytes(2, "big") + b"\0\1" + b"Doe^Jane"
    ds = image(0, rows=32, columns=32, PixelData=encapsulate([stream[:at] + comment + stream[at:]]), RescaleIntercept=0)
    ds["PixelData"].is_undefined_length, ds["PixelData"].VR = True, "OB"
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dicom.deidentify(series(images=[ds]), tmp_path / "clean")
    assert b"Doe" not in (tmp_path / "clean" / "IM000001.dcm").read_bytes()
    assert np.array_equal(dicom.read(tmp_path / "clean").data[0], values)


@pytest.mark.parametrize(
    "changes",
    [
        {"BurnedInAnnotation": "YES"},
        {"Modality": "US"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"sop_class": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"},
    ],
)
def test_text_in_the_pixels_is_refused_unless_accepted(series, image, tmp_path, changes):
    folder = series(images=[image(0, **changes)])
    with pytest.raises(InputError, match="accept_pixels=True"):
        dicom.deidentify(folder, tmp_path / "clean")
    assert not (tmp_path / "clean").exists()
    assert dicom.deidentify(folder, tmp_path / "clean", accept_pixels=True).images == 1


def test_a_time_series_stays_one_without_its_clock(series, image, tmp_path):
    slices = [image(z, AcquisitionTime=f"0930{7 + 5 * t:02d}") for t in range(3) for z in range(2)]
    dicom.deidentify(series(images=slices), tmp_path / "clean")
    volume = dicom.read(tmp_path / "clean")
    assert volume.shape == (3, 2, 5, 7)
    assert volume.times_s == (0, 5, 10)
    assert not any(b"093007" in f.read_bytes() for f in (tmp_path / "clean").iterdir())


def test_the_copy_is_valid(series, tmp_path, dciodvfy):
    dicom.deidentify(series(), tmp_path / "clean")
    assert dciodvfy(tmp_path / "clean" / "IM000001.dcm") == []


def test_a_zip_is_read_and_damage_leaves_nothing(series, tmp_path):
    folder = series()
    with zipfile.ZipFile(tmp_path / "case.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert dicom.deidentify(tmp_path / "case.zip", tmp_path / "clean").images == 4
    file = folder / "002.dcm"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match="truncated"):
        dicom.deidentify(folder, tmp_path / "second")
    assert not (tmp_path / "second").exists()
