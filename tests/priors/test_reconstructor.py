"""The adapter of feed-forward networks: its own scaling, one slice at a time, and what a scan must be like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from operators.fourier import centred_fft, centred_ifft
from operators.mri.sampling import column_mask
from recon3d.errors import ModelError
from recon3d.grid import AffineGrid
from recon3d.priors import load_model, save_model
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.networks import build_network
from recon3d.priors.reconstructor import Reconstructor, kspace_scale, network_masks, sampling_misfits
from recon3d.problem import Problem, problem_for
from recon3d.scan import Scan

SHAPE = (3, 32, 64)
ARCHITECTURE: dict[str, Any] = {
    "kind": "recurrent_varnet", "steps": 2, "hidden": 4, "layers": 2, "refinement": [2, 2],
}  # fmt: skip


def card(**changes: Any) -> ReconstructorCard:
    settings: dict[str, Any] = {
        "name": "toy", "modality": "MRI", "voxel_mm": None, "architecture": ARCHITECTURE, "licence": "Apache-2.0",
        "patterns": ("equispaced", "random"), "acceleration": (2.0, 5.0), "centre": (0.1, 0.3), "coils": (2, 8),
    }  # fmt: skip
    return ReconstructorCard(**{**settings, **changes})


class Identity(nn.Module):
    """Gives back what it sees, and keeps it."""

    centred = True
    bytes_per_pixel = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *given: Tensor) -> Tensor:
        self.seen.append(given)
        return given[0]


def reconstructor(**changes: Any) -> Reconstructor:
    """A network all of whose weights matter."""
    torch.manual_seed(0)
    network = build_network({**ARCHITECTURE, **changes})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Reconstructor(card(architecture={**ARCHITECTURE, **changes}), network.eval(), half=False)


def scan(coils: int = 4, mask: Any = None, **acquisition: Any) -> Scan:
    random = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    image = (y**2 + x**2 < 0.6) * (1 + 0.3 * np.sin(9 * x + 3 * z)) + 0j
    angles = np.linspace(0, 2 * np.pi, coils, endpoint=False)
    maps = np.stack([np.exp(-((y - np.sin(a)) ** 2) - (x - np.cos(a)) ** 2 + 1j * (a + x)) for a in angles])
    kspace = centred_fft(torch.from_numpy(maps * image)).numpy()
    kspace += 0.01 * (random.normal(size=kspace.shape) + 1j * random.normal(size=kspace.shape))
    mask = column_mask(SHAPE[2], 3, 0.15, seed=1) if mask is None else mask
    data = np.where(mask, kspace, 0).astype(np.complex64)
    settings = {"mask": mask, "coil_maps": "low-resolution", **acquisition}
    return Scan("mri", data, ("coil", "kz", "ky", "kx"), settings, AffineGrid.centred(SHAPE, 2.0), name="toy scan")


@pytest.fixture(scope="module")
def problem() -> Problem:
    return problem_for(scan())


def test_a_network_that_adds_nothing_gives_zero_filling(problem: Problem) -> None:
    model = Reconstructor(card(), Identity(), half=False)
    coil_images = problem.A.coil_images(problem.y)  # type: ignore[attr-defined]
    rss = coil_images.abs().square().sum(0).sqrt()
    torch.testing.assert_close(model(problem).abs(), rss)
    torch.testing.assert_close(model(problem, "sense"), problem.A.H(problem.y))


def test_each_slice_is_scaled_by_its_own_percentile(problem: Problem) -> None:
    network = Identity()
    Reconstructor(card(), network, half=False)(problem)
    for z, (kspace, mask, calibration) in enumerate(network.seen):
        magnitudes = np.abs(scan().data[:, z]).ravel()
        rank = int(0.01 * magnitudes.size) + 1  # of all samples, the unmeasured zeros among them
        assert float(kspace.abs().max()) == pytest.approx(magnitudes.max() / np.sort(magnitudes)[-rank], rel=1e-5)
        assert mask.shape == calibration.shape == (1, 1, *SHAPE[1:])
        assert calibration[0, 0, 0].nonzero().flatten().tolist() == list(range(27, 37))  # 10 lines around column 32
    assert float(kspace_scale(torch.arange(1.0, 101.0), 0.99)) == 99.0
    assert float(kspace_scale(torch.arange(1.0, 101.0), 1.0)) == 100.0


def test_intensities_scale_the_image_alone(problem: Problem) -> None:
    model = reconstructor()
    image = model(problem)
    for factor in (1e-5, 1e3):
        scaled = model(replace(problem, y=problem.y * factor))
        assert (scaled / factor - image).abs().max() < 1e-4 * image.abs().max()


def test_slices_and_slabs_do_not_meet(problem: Problem) -> None:
    model = reconstructor()
    whole = model(problem)
    assert torch.equal(torch.cat([model(problem.slab(z, z + 1)) for z in range(3)]), whole)


def test_the_magnitude_is_the_networks_and_the_phase_the_scans(problem: Problem) -> None:
    model = reconstructor()
    mask = problem.A.mask[0].bool()  # type: ignore[attr-defined]
    coil_images = centred_ifft(model.complete(problem.y[:, 1], mask))
    image = model(problem)[1]
    torch.testing.assert_close(image.abs(), coil_images.abs().square().sum(0).sqrt())
    combined = (problem.A.maps[0, :, 1].conj() * coil_images).sum(0)  # type: ignore[attr-defined]
    bright = combined.abs() > 0.1 * combined.abs().max()
    assert (image * combined.conj() / combined.abs())[bright].angle().abs().max() < 1e-3


def test_plain_transforms_meet_the_same_images() -> None:
    """The k-space that a network of plain transforms sees makes the same image, zero frequency in the middle."""
    network = Identity()
    network.centred = False
    kspace = torch.from_numpy(scan().data[:, 0])
    full = torch.ones(SHAPE[2], dtype=torch.bool)
    found = Reconstructor(card(), network, half=False).complete(kspace, full)
    torch.testing.assert_close(found, kspace)
    seen = network.seen[0][0][0] * kspace_scale(kspace, 0.99)
    torch.testing.assert_close(torch.fft.ifft2(seen, norm="ortho").abs(), centred_ifft(kspace).abs())
    assert seen.abs().sum(0).flatten().argmax() == 16 * SHAPE[2] + 32


def test_the_calibration_region_is_a_box_or_a_disc() -> None:
    columns = torch.zeros(20, dtype=torch.bool)
    columns[::4] = columns[7:13] = True
    _, region = network_masks(columns, (6, 20))
    assert region[0, 0].all(0).nonzero().flatten().tolist() == [7, 8, 9, 10, 11, 12]
    points = torch.zeros((16, 20), dtype=torch.bool)
    points[5:11, 8:12] = True
    assert network_masks(points, (16, 20))[1].sum() == 6 * 4
    disc = network_masks(points, (16, 20), radius=2)[1][0, 0]
    assert disc.nonzero().tolist() == [[y, x] for y in (7, 8, 9) for x in (9, 10, 11)]


@pytest.mark.parametrize(
    ("changes", "coils", "mask", "said"),
    [
        ({}, 4, None, ""),
        ({"coils": (8, 16)}, 4, None, "the model toy was trained for 8 to 16 coils, the scan has 4"),
        ({"patterns": ("random",)}, 4, None, "trained on random sampling, that of the scan is equispaced"),
        ({"acceleration": (6, 9)}, 4, None, "trained on accelerations of 6 to 9, the scan has 3.2"),
        ({"centre": (0.02, 0.05)}, 4, None, "shares of calibration lines of 0.02 to 0.05, the scan has 0.156"),
        ({}, 4, np.ones(64, bool), "trained on equispaced and random sampling, that of the scan is full"),
    ],
)
def test_scans_unlike_the_training_are_named(changes: Any, coils: int, mask: Any, said: str) -> None:
    misfits = sampling_misfits(card(**changes), problem_for(scan(coils, mask)))
    assert said in misfits[0] if said else not misfits, misfits


def test_scans_that_cannot_be_taken(problem: Problem) -> None:
    model = reconstructor()
    two_sets = problem_for(scan(map_sets=2, coil_maps="espirit"))
    with pytest.raises(ModelError, match=r"takes slices of one Cartesian scan.*'toy scan' is another kind"):
        model(two_sets)
    with pytest.raises(ModelError, match="slice without signal"):
        model(replace(problem, y=torch.zeros_like(problem.y)))


def test_a_saved_model_is_the_same_model(tmp_path: Any, problem: Problem) -> None:
    model = reconstructor()
    saved = save_model(tmp_path / "toy.safetensors", model.card, model.network, dtype=None)
    again = load_model(tmp_path / "toy.safetensors", half=False)
    assert isinstance(again, Reconstructor)
    assert again.card == saved
    assert torch.equal(again(problem), model(problem))
    assert again.bytes_per_slice((10, 10)) > 0


def test_another_scaling_rule_is_refused(tmp_path: Any) -> None:
    model = reconstructor()
    save_model(tmp_path / "toy.safetensors", model.card.model_copy(update={"scaling": "maximum"}), model.network)
    with pytest.raises(ModelError, match=r"scaling: .*'percentile'"):
        load_model(tmp_path / "toy.safetensors")
