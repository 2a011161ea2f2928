"""Which projector is chosen and why; ASTRA's geometries without a device, its CUDA pair where there is one."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from operators.errors import DeviceError, GeometryError
from operators.testing import adjoint_error
from operators.tomography import ConeProjector, ImageGrid, Projector, TomographyGeometry, filtered_backprojection
from operators.tomography.astra_cuda import AstraProjector, along_slices, astra_geometry, whole_volume
from operators.tomography.backend import projector_for

ANGLES = np.arange(20) * np.pi / 10 + 0.1
GRID = ImageGrid((4, 12, 14), (2.0, 1.5, 1.0), (0.5, 1.0, -2.0))
PARALLEL = TomographyGeometry.parallel(ANGLES, 25, 1.0, 4, 2.0, row_centre_mm=0.5, detector_offset_mm=1.3)
FAN = TomographyGeometry.fan(ANGLES, 60.0, 100.0, 31, 1.5, 4, 2.0, row_centre_mm=0.5, detector_offset_mm=1.3)
CONE = TomographyGeometry.cone(ANGLES, 60.0, 100.0, 31, 1.5, 9, 2.0, advance_mm=3.0, tilt_rad=0.1)
CASES = pytest.mark.parametrize("geometry", [PARALLEL, FAN, CONE], ids=["parallel", "fan", "cone"])


def image(grid: ImageGrid = GRID) -> torch.Tensor:
    """A smooth blob off the centre, with another slope on each axis."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    return torch.from_numpy(np.exp(-2 * (x - 0.2) ** 2 - 3 * (y + 0.3) ** 2) * (1 + 0.5 * z)).float()


@CASES
def test_auto_on_the_cpu_is_matched_and_says_so(geometry: TomographyGeometry) -> None:
    A = projector_for(geometry, GRID)
    assert type(A) is (ConeProjector if geometry.kind == "cone" else Projector)
    assert A.chosen == "numba on the CPU, exact adjoint (auto: the run is on the CPU)"
    assert "asked for" in projector_for(geometry, GRID, backend="numba").chosen


@pytest.mark.parametrize(
    ("device", "backend", "told"),
    [
        ("cpu", "astra", "'astra' does not compute on device 'cpu', 'numba' does"),
        ("cuda", "numba", "'numba' does not compute on device 'cuda', 'astra' does"),
        ("cpu", "matrix", "one of auto, numba, astra, got 'matrix'"),
        ("mps", "auto", "not on 'mps'"),
    ],
)
def test_what_does_not_go_together_is_told(device: str, backend: str, told: str) -> None:
    with pytest.raises(DeviceError, match=told):
        projector_for(CONE, GRID, device=device, backend=backend)


@CASES
def test_without_a_device_our_error_comes_before_astra(geometry: TomographyGeometry) -> None:
    """ASTRA itself would die with SIGFPE (3D) or return zeros (2D)."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    pytest.importorskip("astra")
    with pytest.raises(DeviceError, match="ASTRA finds no CUDA device"):
        projector_for(geometry, GRID, device="cuda")
    handmade = AstraProjector(geometry, GRID, device="cuda:0")
    with pytest.raises(DeviceError, match="ASTRA finds no CUDA device"):
        _ = handmade._tables


def test_what_astra_cannot_is_told() -> None:
    curved = TomographyGeometry.fan(ANGLES, 60.0, 100.0, 31, 1.5, 4, 2.0, detector="curved")
    with pytest.raises(DeviceError, match="Curved detectors"):
        AstraProjector(curved, GRID)
    with pytest.raises(DeviceError, match="computes in float32, got torch"):
        AstraProjector(CONE, GRID, torch.float64)
    with pytest.raises(DeviceError, match="computes on a CUDA device, got device 'cpu': use 'cuda'"):
        AstraProjector(CONE, GRID, device="cpu")
    with pytest.raises(GeometryError, match="the detector has 3, the grid 4"):
        AstraProjector(PARALLEL.rows(0, 3), GRID)
    parent = AstraProjector(PARALLEL, GRID, device="cuda:0")
    parent.__dict__["_tables"] = 7
    assert "_tables" not in pickle.loads(pickle.dumps(parent)).__dict__
    assert isinstance(parent.to("cpu"), Projector)
    slab = parent.restrict("z", 1, 3)
    assert slab is not None
    assert slab.operator.domain.shape == (2, 12, 14)  # type: ignore[union-attr]
    assert AstraProjector(CONE, GRID, device="cuda:0").restrict("z", 1, 3) is None


def test_fan_slices_lie_as_ours_in_astras_plane() -> None:
    """The CPU kernel of the same 2D geometry agrees with ours: origin, signs and the turned rows are right."""
    astra = pytest.importorskip("astra")
    kind, projection, volume = astra_geometry(astra, FAN, GRID)
    assert kind == "cuda"
    square = ImageGrid((4, 14, 14), (2.0, 1.0, 1.0), GRID.centre_mm)  # ASTRA's CPU kernels want square pixels
    _, projection, volume = astra_geometry(astra, FAN, square)
    handle = astra.create_projector("line_fanflat", projection, volume)
    x, ours = image(square), Projector(FAN, square)
    y = torch.empty(FAN.shape)
    along_slices(lambda a, b: astra.projector.direct_FP(handle, a, out=b), x, y, True)
    assert (
        float((y - ours(x)).norm() / y.norm()) < 0.03
    )  # another kernel; turned rows or a wrong sign give more than 0.3
    back = torch.empty(square.shape)
    along_slices(lambda a, b: astra.projector.direct_BP(handle, a, out=b), y, back, False)
    assert float((back - ours.H(y)).norm() / back.norm()) < 0.06
    astra.projector.delete(handle)


@CASES
def test_geometries_are_handed_over_in_mm(geometry: TomographyGeometry) -> None:
    astra = SimpleNamespace(create_vol_geom=lambda *a: a, create_proj_geom=lambda *a: a)
    kind, projection, volume = astra_geometry(astra, geometry, GRID)
    assert kind == ("cuda" if geometry.kind == "fan" else "cuda3d")
    np.testing.assert_allclose(volume[:2], (12, 14))
    limits = volume[2:] if geometry.kind == "fan" else volume[3:]
    np.testing.assert_allclose(limits, (-9.0, 5.0, -8.0, 10.0, -3.5, 4.5)[: len(limits)])
    rows = () if geometry.kind == "fan" else (geometry.n_rows,)
    assert projection[1:-1] == (*rows, geometry.n_columns)


def test_projections_change_places_with_astras_rows() -> None:
    def kernel(given: torch.Tensor, out: torch.Tensor) -> None:
        assert given.is_contiguous()
        assert out.is_contiguous()
        out.copy_(given.reshape(out.shape))

    x = torch.arange(24.0).reshape(2, 3, 4)
    y = torch.empty(3, 2, 4)
    whole_volume(kernel, x, y, True)
    torch.testing.assert_close(y, x.transpose(0, 1))
    back = torch.empty(2, 3, 4)
    whole_volume(kernel, y, back, False)
    torch.testing.assert_close(back, x)


@pytest.mark.gpu
@CASES
def test_astra_on_the_gpu_agrees_with_the_cpu(geometry: TomographyGeometry) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    ours, theirs = projector_for(geometry, GRID), projector_for(geometry, GRID, device="cuda")
    x, y = image(), ours(image())
    assert float((theirs(x.cuda()).cpu() - y).norm() / y.norm()) < 0.02
    back = ours.H(y)
    assert float((theirs.H(y.cuda()).cpu() - back).norm() / back.norm()) < 0.05
    assert adjoint_error(theirs) < 0.05
    assert theirs.H(torch.stack([y, 2 * y]).cuda()).shape == (2, *GRID.shape)
    if geometry.kind != "cone":
        fbp = filtered_backprojection(theirs, y.cuda())
        torch.testing.assert_close(fbp.cpu(), filtered_backprojection(ours, y))
