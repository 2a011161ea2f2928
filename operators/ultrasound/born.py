"""BornModel: echoes of single scattering, linear in the reflectivity; its adjoint is delay-and-sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.errors import DeviceError, GeometryError
from operators.linear import LinearOperator
from operators.space import Space
from operators.ultrasound import kernels
from operators.ultrasound.transmits import Transmits

_LEAST_SAMPLES = 4


class BornModel(LinearOperator):
    """Baseband echoes (transmit, element, sample) of a complex reflectivity q on points, without multiple scattering.

    ``y_te(n) = sum_k q_k w_te(k) d(n - f_s tau_te(k)) exp(-2 pi i f_d tau_te(k))``, where tau is the way there and back
    counted from the first sample, d the interpolation kernel and w the receive window times the strength of the wave
    at the point. The pulse is the matter of `Demodulation`. The adjoint is delay-and-sum without division by the
    weights (Perrot et al., Ultrasonics 111 (2021) 106309); `delay_and_sum` divides.

    Parameters
    ----------
    domain_shape, domain_axes : of the image, whose points they count
    points_mm : (point, 3), in the frame of the probe: x lateral, y elevation, z depth
    elements_mm : (element, 3)
    transmits : the waves
    samples : of each trace
    sampling_hz : of the traces
    first_sample_s : (transmit,), time of the first sample, from when the wave passes the origin of its transmit
    centre_hz : of the pulse; it sets the wavelength in beams
    demodulation_hz : frequency that the traces were mixed down by, with phase 0 at their first sample
    slowness_s_mm : (point,), from `mean_slowness`
    f_number : depth over width of the receive aperture; 0 for all elements
    window : boxcar, tukey (flat over the inner half) or hann, over that aperture
    interpolation : linear, or cubic (Keys, IEEE TASSP 29 (1981) 1153)
    """

    domain: Space
    range: Space

    def __init__(
        self,
        domain_shape: Sequence[int],
        points_mm: NDArray[np.float64],
        elements_mm: NDArray[np.float64],
        transmits: Transmits,
        *,
        samples: int,
        sampling_hz: float,
        first_sample_s: NDArray[np.float64] | float,
        centre_hz: float,
        demodulation_hz: float,
        slowness_s_mm: NDArray[np.float64] | float,
        f_number: float = 1.5,
        window: str = "tukey",
        interpolation: str = "cubic",
        domain_axes: Sequence[str] = ("z", "y", "x"),
        dtype: torch.dtype = torch.complex64,
        device: torch.device | str = "cpu",
    ) -> None:
        if torch.device(device).type != "cpu":
            raise DeviceError(f"Delay-and-sum computes on the CPU; on {device} there is none yet. Use device='cpu'.")
        if window not in kernels.WINDOWS or interpolation not in ("linear", "cubic"):
            raise GeometryError(
                f"Receive windows are {', '.join(kernels.WINDOWS)} and interpolations linear and cubic, got "
                f"'{window}' and '{interpolation}'."
            )
        if not (sampling_hz > 0 and centre_hz > 0 and f_number >= 0 and samples >= _LEAST_SAMPLES):
            raise GeometryError(
                f"Traces need positive frequencies, an f-number of at least 0 and {_LEAST_SAMPLES} samples, got "
                f"{sampling_hz:g} Hz, {centre_hz:g} Hz, {f_number:g} and {samples}."
            )
        super().__init__(
            Space(tuple(domain_axes), tuple(domain_shape), dtype),
            Space(("transmit", "element", "sample"), (len(transmits), len(elements_mm), samples), dtype),
        )
        self.points_mm = np.asarray(points_mm, dtype=float)
        if self.points_mm.shape != (self.domain.size, 3):
            raise GeometryError(f"An image {self.domain} needs as many points (x, y, z), got {self.points_mm.shape}.")
        self.elements_mm, self.transmits = np.asarray(elements_mm, dtype=float), transmits
        self.sampling_hz, self.centre_hz, self.demodulation_hz = sampling_hz, centre_hz, demodulation_hz
        self.first_sample_s = np.broadcast_to(np.asarray(first_sample_s, dtype=float), (len(transmits),))
        self.slowness_s_mm = np.broadcast_to(np.asarray(slowness_s_mm, dtype=float), (self.domain.size,))
        self.f_number, self.window, self.interpolation = float(f_number), window, interpolation

    def delay_and_sum(self, y: Tensor) -> Tensor:
        """The image: echoes averaged with their weights, 0 where no trace reaches. `y` is baseband (the range)."""
        return self.H(y) * self._inverse_weights

    def coherence(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The image of `delay_and_sum`, and the coherence factor of its echoes over the elements, 0 to 1.

        ``|sum_e s_e|^2 / (N sum_e |s_e|^2)`` with N = (sum w)^2 / sum w^2, the number of elements where all weigh the
        same (Mallart and Fink, JASA 96 (1994) 3721; Hollman et al., IEEE IUS 1999).
        """
        self.range.check(y, "The coherence factor")
        image, energy = self._beamformed(y)
        weights, squares = self._coverage
        coherent = image.abs() ** 2 * squares
        spread = weights**2 * energy
        factor = torch.where(spread > 0, coherent / spread.clamp_min(torch.finfo(spread.dtype).tiny), 0.0)
        return image * self._inverse_weights, factor.clamp(0.0, 1.0)

    def _forward(self, x: Tensor) -> Tensor:
        return self._each(x, len(self.domain.shape), self.range.shape, self._spread)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._beamformed(y)[0]

    def _spread(self, image: NDArray[Any], data: NDArray[Any]) -> None:
        kernels.spread(image.reshape(-1, 2), *self._tables, self._cubic, data)

    def _beamformed(self, y: Tensor) -> tuple[Tensor, Tensor]:
        batch = y.shape[:-3]
        energy = torch.empty((*batch, self.domain.size), dtype=y.real.dtype)
        rows = iter(energy.reshape(-1, self.domain.size).numpy())

        def one(data: NDArray[Any], image: NDArray[Any]) -> None:
            kernels.delay_and_sum(data, *self._tables, self._cubic, image.reshape(-1, 2), next(rows))

        image = self._each(y, 3, self.domain.shape, one)
        return image, energy.reshape(*batch, *self.domain.shape)

    def _each(
        self, source: Tensor, axes: int, shape: Sequence[int], function: Callable[[NDArray[Any], NDArray[Any]], None]
    ) -> Tensor:
        """`function(source, target)` for each element of the batch, on pairs of real numbers."""
        batch = source.shape[: source.ndim - axes]
        target = torch.zeros((*batch, *shape), dtype=source.dtype)
        given = torch.view_as_real(source.detach().resolve_conj().contiguous())
        pairs = given.reshape(-1, *given.shape[len(batch) :]).numpy()
        for data, out in zip(pairs, torch.view_as_real(target).reshape(-1, *shape, 2).numpy(), strict=True):
            function(data, out)
        return target

    @property
    def _cubic(self) -> bool:
        return self.interpolation == "cubic"

    @cached_property
    def _tables(self) -> tuple[Any, ...]:
        """What the kernels need to know of points, elements and transmits, delays in samples."""
        real = np.float64 if self.domain.dtype == torch.complex128 else np.float32
        wavelength = 1.0 / (self.centre_hz * float(np.mean(self.slowness_s_mm)))
        times = self.transmits.times_s(self.points_mm, self.slowness_s_mm, wavelength)
        delays = (times - self.first_sample_s[:, None]) * self.sampling_hz
        weights = self.transmits.weights(self.points_mm, wavelength)
        arrays = (self.points_mm, self.slowness_s_mm * self.sampling_hz, self.elements_mm, delays, weights)
        turns = self.demodulation_hz / self.sampling_hz
        window = kernels.WINDOWS[self.window]
        return (*(np.ascontiguousarray(a, dtype=real) for a in arrays), self.f_number, window, turns)

    @cached_property
    def _coverage(self) -> tuple[Tensor, Tensor]:
        """Per point: the sum of the weights of its recorded echoes, and over elements the sum of their squares."""
        points, slowness, elements, delays, weights, f_number, window, _ = self._tables
        sums = np.empty((2, self.domain.size), points.dtype)
        samples = self.range.shape[-1]
        kernels.coverage(samples, points, slowness, elements, delays, weights, f_number, window, sums[0], sums[1])
        total, squares = torch.from_numpy(sums.reshape(2, *self.domain.shape))
        return total, squares

    @property
    def _inverse_weights(self) -> Tensor:
        total = self._coverage[0]
        return torch.where(total > 0, 1.0 / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)

    def subset(self, axis: str, index: Sequence[int]) -> LinearOperator | None:
        if axis not in ("transmit", "element"):
            return None
        chosen = np.asarray(index)
        if axis == "element":
            return self._with(elements_mm=self.elements_mm[chosen])
        transmits = Transmits(*(getattr(self.transmits, name)[chosen] for name in Transmits.__dataclass_fields__))
        return self._with(transmits=transmits, first_sample_s=self.first_sample_s[chosen])

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self._with(dtype=self.domain.astype(dtype).dtype, device=device)

    def _with(self, **changes: Any) -> BornModel:
        names = (
            "points_mm", "elements_mm", "transmits", "sampling_hz", "first_sample_s", "centre_hz", "demodulation_hz",
            "slowness_s_mm", "f_number", "window", "interpolation",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        own |= {"samples": self.range.shape[-1], "domain_axes": self.domain.axes, "dtype": self.domain.dtype}
        return BornModel(self.domain.shape, **(own | changes))


class Frames(LinearOperator):
    """The same acquisition frame by frame: (t, ...) to (t, ...)."""

    def __init__(self, frame: LinearOperator, frames: int) -> None:
        domain, range = (
            Space(("t", *space.axes), (frames, *space.shape), space.dtype)
            for space in (cast(Space, frame.domain), cast(Space, frame.range))
        )
        super().__init__(domain, range, frame.device)
        self.frame = frame

    def _forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.frame._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return cast(Tensor, self.frame.H._forward(y))

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Frames(self.frame.to(device, dtype), cast(Space, self.domain).shape[0])
