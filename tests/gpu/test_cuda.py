"""What only a CUDA device can show: libraries side by side in one process, half precision, transfers, memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.dlpack import from_dlpack

import recon3d
from operators.nufft import Nufft
from operators.sigpy_bridge import from_sigpy
from operators.testing import adjoint_error
from operators.tomography import ImageGrid, TomographyGeometry, projector_for
from recon3d.priors import load_model

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


GEOMETRIES = {
    "parallel": TomographyGeometry.parallel(np.arange(12) * math.pi / 12, 24, n_rows=4),
    "fan": TomographyGeometry.fan(np.arange(12) * math.pi / 6, 60.0, 120.0, 40, 1.2, n_rows=4),
    "cone": TomographyGeometry.cone(np.arange(12) * math.pi / 6, 60.0, 120.0, 40, 1.2, 12, 1.2),
}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_astra_and_torch_share_a_process(kind: str) -> None:
    """Their contexts and streams meet: a network runs between two projections, whose numbers stay."""
    A = projector_for(GEOMETRIES[kind], ImageGrid((4, 16, 16)), device="cuda")
    x = torch.rand(4, 16, 16, device="cuda")
    before = A(x)
    net = torch.nn.Conv2d(1, 8, 3, padding=1).cuda()
    x.copy_(x + 0 * net(x[:, None]).sum())
    torch.testing.assert_close(A(x), before)
    ours = projector_for(GEOMETRIES[kind], ImageGrid((4, 16, 16)))(x.cpu())
    assert float((before.cpu() - ours).norm() / ours.norm()) < 0.02
    assert adjoint_error(A) < 0.05


def test_tensors_pass_to_cupy_and_back_without_a_copy() -> None:
    cupy = pytest.importorskip("cupy")
    x = torch.arange(12.0, device="cuda").reshape(3, 4)
    there = cupy.from_dlpack(x)
    there *= 2
    back = from_dlpack(there)
    assert back.data_ptr() == x.data_ptr()
    torch.testing.assert_close(x.cpu(), 2 * torch.arange(12.0).reshape(3, 4))


def test_sigpy_on_cupy_is_sigpy_on_the_cpu() -> None:
    pytest.importorskip("cupy")
    linop = pytest.importorskip("sigpy").linop
    F = linop.FFT((6, 8))
    x = torch.randn(6, 8, dtype=torch.complex64)
    here, there = from_sigpy(F), from_sigpy(F, device="cuda")
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x), rtol=1e-4, atol=1e-5)
    assert adjoint_error(there) < 1e-5


def test_the_nufft_is_the_one_of_the_cpu() -> None:
    pytest.importorskip("cufinufft")
    pytest.importorskip("finufft")
    trajectory = torch.rand(200, 2, dtype=torch.float64) - 0.5
    x = torch.randn(3, 12, 16, dtype=torch.complex64)
    here = Nufft(trajectory, (12, 16), torch.complex64).forward(x)
    there = Nufft(trajectory.cuda(), (12, 16), torch.complex64)
    torch.testing.assert_close(there.forward(x.cuda()).cpu(), here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ct-axial", "mri-head-knee"])
def test_priors_keep_their_answer_in_bfloat16(name: str) -> None:
    fast, exact = load_model(name, "cuda"), load_model(name, "cpu", half=False)
    dtype = torch.complex64 if exact.card.complex_image else torch.float32
    x = 0.3 * torch.randn(2, 96, 96, dtype=dtype)
    for sigma in (0.1, 1.0):
        wanted = exact.denoise(x, sigma)
        found = fast.denoise(x.cuda(), sigma).cpu()
        assert float((found - wanted).norm() / wanted.norm()) < 2e-2


def test_matrix_products_of_solvers_are_not_rounded_to_tf32() -> None:
    """TF32 keeps 10 bits of a mantissa: enough for a network, not for a system of equations."""
    assert not torch.backends.cuda.matmul.allow_tf32
    a = torch.randn(64, 64, dtype=torch.float64)
    product = (a.float().cuda() @ a.float().cuda()).cpu().double()
    assert float((product - a @ a).norm() / (a @ a).norm()) < 1e-5


def test_a_run_leaves_no_memory_behind() -> None:
    from recon3d.synthetic.phantoms import shepp_logan
    from recon3d.synthetic.simulate import simulate_ct
    from recon3d.volume import Volume

    head = shepp_logan((4, 64, 64), (4.0, 4.0, 4.0))
    scan = simulate_ct(Volume(1000 * head.data - 1000, head.grid, units="HU"), views=8)

    def run() -> int:
        recon3d.reconstruct(recon3d.problem_for(scan, device="cuda"), "dds", models={"prior": "ct-axial"}, steps=2)
        return torch.cuda.memory_allocated()

    assert run() >= run()
