import os
import sys
from pathlib import Path

import pytest

from recon3d.errors import InputError, MissingPackageError
from recon3d.io.formats import format_for, load

SAMPLES = os.environ.get("RECON3D_SAMPLE_DATA")
with_samples = pytest.mark.skipif(not SAMPLES, reason="RECON3D_SAMPLE_DATA names no folder of sample data")


@with_samples
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "shape", "voxel"),
    [("siemens_gre_2ch", (2, 1, 160, 160), (4, 1.25, 1.25)), ("siemens_pulseq_gre_16ch", (16, 1, 128, 128), (3, 2, 2))],
)
def test_vendor_and_pulseq_files(name, shape, voxel):
    pytest.importorskip("twixtools")
    scan = load(Path(str(SAMPLES)) / "mri" / f"{name}.dat")
    assert scan.data.shape == shape
    assert scan.grid.voxel_mm == pytest.approx(voxel)
    energy = abs(scan.data).sum((0, 1))
    peak = divmod(int(energy.argmax()), energy.shape[1])
    assert max(abs(peak[0] - shape[2] // 2), abs(peak[1] - shape[3] // 2)) <= 2
    with pytest.raises(InputError, match="no noise scan"):
        load(Path(str(SAMPLES)) / "mri" / f"{name}.dat", prewhiten=True)


def test_without_twixtools(tmp_path, monkeypatch):
    path = tmp_path / "meas.dat"
    path.write_bytes(b"\x00\x00\x00\x00\x01\x00\x00\x00" + bytes(100))
    assert format_for(path)[0] == "twix"
    monkeypatch.setitem(sys.modules, "twixtools", None)
    with pytest.raises(MissingPackageError, match=r"recon3d\[twix\]"):
        load(path)


def test_other_dat_files_are_left_alone(tmp_path):
    path = tmp_path / "table.dat"
    path.write_text("a table of numbers, no raw data")
    with pytest.raises(InputError, match="no known format"):
        load(path)
