"""The Born model and delay-and-sum: adjointness, delays by hand, point targets where they are, weights that average."""

import numpy as np
import pytest
import torch

from operators.errors import GeometryError
from operators.testing import adjoint_error
from operators.ultrasound import (
    BornModel,
    Demodulation,
    Frames,
    Transmits,
    linear_array,
    loops_cpu,
    loops_torch,
    matrix_array,
)

SPEED = 1540.0
SLOWNESS = 1e-3 / SPEED
WAVES = {
    "plane": Transmits.plane([0.0, np.deg2rad(8)]),
    "diverging": Transmits.steered(-10.0, 0.0),
    "focused": Transmits.steered(30.0, np.deg2rad(5.7), widths_mm=10.0),
    "elements": Transmits.elements(linear_array(64, 0.3)[::16]),
}


def model(transmits, points, shape=None, elements=None, **changes):
    settings = {
        "samples": 1100, "sampling_hz": 20e6, "first_sample_s": 0.0, "centre_hz": 2.5e6, "demodulation_hz": 2.5e6,
        "slowness_s_mm": SLOWNESS, "dtype": torch.complex128,
    }  # fmt: skip
    elements = linear_array(64, 0.3) if elements is None else elements
    return BornModel(shape or (1, 1, len(points)), points, elements, transmits, **(settings | changes))


def plane(x, z):
    x, z = np.meshgrid(x, z)
    return np.stack([x, np.zeros_like(x), z], axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_adjoint(wave, interpolation):
    points = plane(np.linspace(-5, 5, 7), np.linspace(1, 38, 40))
    window = {"linear": "hann", "cubic": "tukey"}[interpolation]
    A = model(WAVES[wave], points, interpolation=interpolation, window=window, first_sample_s=3e-6)
    assert adjoint_error(A) < 1e-10
    rf = Demodulation(A.range.shape, 20e6, 2.5e6, 0.6, torch.float64).H @ A
    assert adjoint_error(rf) < 1e-10


def test_adjoint_of_a_batch_of_frames_in_single_precision():
    A = Frames(model(WAVES["plane"], plane([0.0, 1.0], [20.0, 21.0]), dtype=torch.complex64), 3)
    assert adjoint_error(A) < 1e-5


def test_a_point_echoes_after_the_way_there_and_back():
    """A point at (3, 0, 4) mm and an element at (0, 0, 0): 4 mm there, 5 mm back, 1 mm a sample."""
    A = model(
        Transmits.plane(0.0), np.array([[3.0, 0.0, 4.0]]), elements=np.zeros((1, 3)), f_number=0,
        sampling_hz=1e6, slowness_s_mm=1e-6, samples=20, centre_hz=0.25e6, demodulation_hz=0.25e6,
        interpolation="linear",
    )  # fmt: skip
    echo = A(torch.ones(1, 1, 1, dtype=torch.complex128))[0, 0]
    assert torch.nonzero(echo.abs() > 1e-12).ravel().tolist() == [9]
    assert echo[9] == pytest.approx(np.exp(-2j * np.pi * 0.25 * 9))  # nine quarter turns
    later = A._with(first_sample_s=np.array([2.5e-6]))(torch.ones(1, 1, 1, dtype=torch.complex128))[0, 0]
    assert later.abs()[6:8].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("wave", ["plane", "diverging", "elements"])
def test_a_point_target_is_imaged_where_it_is(wave):
    """Sheet's numbers: lateral half width near 1.206 lambda F#, axial c/2 times that of the pulse."""
    target = model(WAVES[wave], np.array([[3.0, 0.0, 30.0]]), f_number=0)
    rf = Demodulation(target.range.shape, 20e6, 2.5e6, 0.6, torch.float64).H(
        target(torch.ones(1, 1, 1, dtype=torch.complex128))
    )
    x, z = np.linspace(1, 5, 41), np.linspace(28.5, 31.5, 61)
    A = model(WAVES[wave], plane(x, z), (1, len(z), len(x)), window="boxcar", f_number=0)
    image = A.delay_and_sum(Demodulation(A.range.shape, 20e6, 2.5e6, None, torch.float64)(rf)).abs()[0].numpy()
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert (x[column], z[row]) == (pytest.approx(3.0, abs=0.051), pytest.approx(30.0, abs=0.051))
    lateral = (image[row] > image.max() / 2).sum() * 0.1
    if wave != "elements":
        assert lateral == pytest.approx(1.206 * 0.616 * 30 / 19.2, abs=0.25)


def test_delay_and_sum_averages_and_knows_where_no_trace_reaches():
    points = plane([0.0, 2.0], [5.0, 20.0, 80.0])
    A = model(WAVES["plane"], points, (1, 3, 2), demodulation_hz=0.0)
    image = A.delay_and_sum(torch.ones(A.range.shape, dtype=torch.complex128))
    assert torch.allclose(image[0, :2], torch.ones(2, 2, dtype=torch.complex128))
    assert not image[0, 2].any()  # 80 mm: after the last sample


def test_coherence_is_one_for_equal_echoes_and_low_for_noise():
    points = plane([0.0], [15.0, 20.0])
    A = model(WAVES["plane"], points, demodulation_hz=0.0)
    _, same = A.coherence(torch.ones(A.range.shape, dtype=torch.complex128))
    assert torch.allclose(same, torch.ones_like(same))
    noise = A.range.random(torch.Generator().manual_seed(0))
    image, factor = A.coherence(noise)
    assert (factor < 0.2).all()
    assert torch.equal(image, A.delay_and_sum(noise))


def test_the_kernel_gives_what_the_plain_sum_gives():
    """The formula of the class, one echo after another, in NumPy."""
    generator = torch.Generator().manual_seed(1)
    A = model(Transmits.plane([0.1]), plane([-1.0, 0.5], [12.0, 17.3]), interpolation="linear", window="hann")
    data = A.range.random(generator)
    expected = []
    for p in A.points_mm:
        total = 0.0
        for e, element in enumerate(A.elements_mm):
            place = abs(p[0] - element[0]) * 2 * 1.5 / p[2]
            if place >= 1:
                continue
            path = p[0] * np.sin(0.1) + p[2] * np.cos(0.1) + np.linalg.norm(p - element)
            at = path / 1540e3 * 20e6
            i, f = int(at), at - int(at)
            value = (1 - f) * data[0, e, i] + f * data[0, e, i + 1]
            total += (0.5 + 0.5 * np.cos(np.pi * place)) * value * np.exp(2j * np.pi * 2.5 / 20 * at)
        expected.append(complex(total))
    assert A.H(data).ravel().numpy() == pytest.approx(np.array(expected), abs=1e-9)


def test_transmits_compound_coherently_and_subsets_are_problems_of_their_own():
    A = model(WAVES["plane"], plane([0.0, 1.0], [20.0, 22.0]))
    data = A.range.random(torch.Generator().manual_seed(2))
    parts = [A.subset("transmit", [k]).H(data[k : k + 1]) for k in (0, 1)]
    assert torch.allclose(parts[0] + parts[1], A.H(data))
    halves = [A.subset("element", index).H(data[:, index]) for index in (list(range(32)), list(range(32, 64)))]
    assert torch.allclose(halves[0] + halves[1], A.H(data))
    assert A.subset("sample", [0]) is None


def test_a_matrix_array_resolves_elevation():
    elements = matrix_array((16, 16), (0.3, 0.3))
    target = model(Transmits.plane(0.0), np.array([[0.0, 1.0, 12.0]]), elements=elements, f_number=0, samples=500)
    data = target(torch.ones(1, 1, 1, dtype=torch.complex128))
    y = np.linspace(-3, 3, 13)
    line = np.stack([np.zeros(13), y, np.full(13, 12.0)], axis=1)
    image = model(Transmits.plane(0.0), line, elements=elements, f_number=0, samples=500).H(data).abs()
    assert y[int(image.argmax())] == pytest.approx(1.0)


def test_what_cannot_be_is_refused():
    points = plane([0.0], [20.0])
    with pytest.raises(GeometryError, match="tukey"):
        model(WAVES["plane"], points, window="kaiser")
    with pytest.raises(GeometryError, match="f-number"):
        model(WAVES["plane"], points, f_number=-1)
    with pytest.raises(GeometryError, match="as many points"):
        model(WAVES["plane"], points, (1, 2, 2))
    with pytest.raises(GeometryError, match="at least 0"):
        model(WAVES["plane"], points, element_width_mm=-0.1)
    with pytest.raises(GeometryError, match="dB/cm/MHz"):
        model(WAVES["plane"], points, attenuation_db_cm_mhz=np.nan)


def test_directivity_attenuation_and_spreading_by_hand():
    """A point at (3, 0, 4) mm: sin = 0.6 at an element of a wavelength, 0.9 cm of way at 2.5 MHz, 1 / 5 mm back."""
    point = np.array([[3.0, 0.0, 4.0]])
    settings = {"elements": np.zeros((1, 3)), "f_number": 0, "interpolation": "linear"}
    one = torch.ones(1, 1, 1, dtype=torch.complex128)

    def strength(wave=WAVES["plane"].steered(np.inf, 0.0), **changes):
        return model(wave, point, **settings, **changes)(one).abs().sum().item()

    wavelength = 1.54 / 2.5
    lobe = np.sinc(0.6)
    assert strength(element_width_mm=wavelength) == pytest.approx(lobe)
    assert strength(element_width_mm=2 * wavelength) == 0.0  # beyond the first zero
    single = Transmits.elements(np.zeros((1, 3)), wavelength)
    assert strength(single, element_width_mm=wavelength) == pytest.approx(lobe**2)
    assert strength(attenuation_db_cm_mhz=0.5) == pytest.approx(10 ** (-0.5 * 2.5 * 0.9 / 20))
    assert strength(spreading=True) == pytest.approx(1 / 5)
    assert strength(single, spreading=True) == pytest.approx(1 / 25 * lobe)


def test_delay_and_sum_gives_back_what_attenuation_and_spreading_took():
    """Traces that hold, at all times, what is left of a reflector's echo after both ways, at 0.175 dB / mm."""
    z = 25.0
    A = model(
        WAVES["plane"].steered(np.inf, 0.0), plane([2.0], [z]), demodulation_hz=0.0, element_width_mm=0.3,
        attenuation_db_cm_mhz=0.7, spreading=True,
    )  # fmt: skip
    back = np.hypot(A.elements_mm[:, 0] - 2.0, z)
    left = torch.from_numpy(10 ** (-0.175 * (z + back) / 20) / back).to(torch.complex128)
    y = left[None, :, None].expand(A.range.shape)
    assert A.delay_and_sum(y).item() == pytest.approx(1.0)
    assert A.coherence(y)[1].item() == pytest.approx(1.0, abs=1e-3)
    assert adjoint_error(A) < 1e-10


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("case", [{"window": "hann", "interpolation": "linear"}, {"element_width_mm": 0.5}, {
    "window": "boxcar", "attenuation_db_cm_mhz": 0.7, "spreading": True}])  # fmt: skip
def test_the_loops_for_gpus_are_those_of_the_cpu(wave, case, monkeypatch):
    points = plane(np.linspace(-5, 5, 7), np.linspace(1, 38, 11))
    A = model(WAVES[wave], points, **case)
    y, x = (space.random(torch.Generator().manual_seed(3)) for space in (A.range, A.domain))
    monkeypatch.setattr(loops_torch, "ECHOES", 1000)  # a few elements at a time
    image, energy = loops_torch.delay_and_sum(y, A._tables)
    expected, parts = loops_cpu.delay_and_sum(y, A._tables)
    assert torch.allclose(image, expected, atol=1e-9)
    assert torch.allclose(energy, parts, atol=1e-9)
    traces = loops_torch.spread(x.ravel(), A._tables, A.range.shape)
    assert torch.allclose(traces, A(x), atol=1e-9)
    for mine, theirs in zip(loops_torch.coverage(1100, A._tables), loops_cpu.coverage(1100, A._tables), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives():
    A = model(WAVES["plane"], plane(np.linspace(-5, 5, 7), np.linspace(1, 38, 40)))
    y = A.range.random(torch.Generator().manual_seed(4))
    there = A.to("cuda")
    assert torch.allclose(there.delay_and_sum(y.cuda()).cpu(), A.delay_and_sum(y), atol=1e-9)
    assert adjoint_error(there) < 1e-10
