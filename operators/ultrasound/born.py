"""BornModel: echoes of single scattering, linear in the reflectivity; its adjoint is delay-and-sum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.errors import GeometryError
from operators.linear import LinearOperator
from operators.space import Space
from operators.ultrasound import loops_cpu as cpu
from operators.ultrasound import loops_torch as gpu
from operators.ultrasound.tables import WINDOWS, Receive, Tables
from operators.ultrasound.transmits import Transmits

_LEAST_SAMPLES = 4


class BornModel(LinearOperator):
    """Baseband echoes (transmit, element, sample) of a complex reflectivity q on points, without multiple scattering.

    ``y_te(n) = sum_k q_k w_te(k) d(n - f_s tau_te(k)) exp(-2 pi i f_d tau_te(k))``, where tau is the way there and back
    counted from the first sample, d the interpolation kernel and w the receive window times the directivity of the
    element and the strength of the wave at the point. The pulse is the matter of `Demodulation`. The adjoint is
    delay-and-sum without division by the weights (Perrot et al., Ultrasonics 111 (2021) 106309), which `delay_and_sum`
    does.

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
    element_width_mm : of the elements along x, whose faces lie across z; they hear in the main lobe of a piston in a
        rigid baffle, ``sinc(w sin(theta) / lambda)`` (Selfridge et al., APL 37 (1980) 35). 0 hears all around
    attenuation_db_cm_mhz : of the medium, at the centre frequency, on both ways
    spreading : whether spherical waves weaken by 1 / distance on both ways, with strength 1 at 1 mm or at the probe
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
        element_width_mm: float = 0.0,
        attenuation_db_cm_mhz: float = 0.0,
        spreading: bool = False,
        domain_axes: Sequence[str] = ("z", "y", "x"),
        dtype: torch.dtype = torch.complex64,
        device: torch.device | str = "cpu",
    ) -> None:
        if window not in WINDOWS or interpolation not in ("linear", "cubic"):
            raise GeometryError(
                f"Receive windows are {', '.join(WINDOWS)} and interpolations linear and cubic, got "
                f"'{window}' and '{interpolation}'."
            )
        if not (sampling_hz > 0 and centre_hz > 0 and f_number >= 0 and samples >= _LEAST_SAMPLES):
            raise GeometryError(
                f"Traces need positive frequencies, an f-number of at least 0 and {_LEAST_SAMPLES} samples, got "
                f"{sampling_hz:g} Hz, {centre_hz:g} Hz, {f_number:g} and {samples}."
            )
        if not (0 <= element_width_mm < np.inf and 0 <= attenuation_db_cm_mhz < np.inf):
            raise GeometryError(
                f"Elements have a width and media an attenuation of at least 0, got {element_width_mm:g} mm and "
                f"{attenuation_db_cm_mhz:g} dB/cm/MHz."
            )
        super().__init__(
            Space(tuple(domain_axes), tuple(domain_shape), dtype),
            Space(("transmit", "element", "sample"), (len(transmits), len(elements_mm), samples), dtype),
            device,
        )
        self.points_mm = np.asarray(points_mm, dtype=float)
        if self.points_mm.shape != (self.domain.size, 3):
            raise GeometryError(f"An image {self.domain} needs as many points (x, y, z), got {self.points_mm.shape}.")
        self.elements_mm, self.transmits = np.asarray(elements_mm, dtype=float), transmits
        self.sampling_hz, self.centre_hz, self.demodulation_hz = sampling_hz, centre_hz, demodulation_hz
        self.first_sample_s = np.broadcast_to(np.asarray(first_sample_s, dtype=float), (len(transmits),))
        self.slowness_s_mm = np.broadcast_to(np.asarray(slowness_s_mm, dtype=float), (self.domain.size,))
        self.f_number, self.window, self.interpolation = float(f_number), window, interpolation
        self.element_width_mm, self.spreading = float(element_width_mm), spreading
        self.attenuation_db_cm_mhz = float(attenuation_db_cm_mhz)

    def delay_and_sum(self, y: Tensor) -> Tensor:
        """The image: echoes averaged with their weights, 0 where no trace reaches. `y` is baseband (the range).

        What attenuation and spreading took is given back: the image of one reflector is its q.
        """
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
        batch = x.shape[: x.ndim - len(self.domain.shape)]
        traces = [
            self._loops.spread(q.ravel(), self._tables, self.range.shape) for q in x.reshape(-1, self.domain.size)
        ]
        return torch.stack(traces).reshape(*batch, *self.range.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._beamformed(y)[0]

    def _beamformed(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the delayed echoes, and over elements of the squares of what each of them gives."""
        batch = y.shape[:-3]
        parts = [self._loops.delay_and_sum(data, self._tables) for data in y.reshape(-1, *self.range.shape)]
        image, energy = (torch.stack(part).reshape(*batch, *self.domain.shape) for part in zip(*parts, strict=True))
        return image, energy

    @property
    def _loops(self) -> ModuleType:
        """numba on the CPU, torch on other devices; both have the same functions."""
        return cpu if self.device.type == "cpu" else gpu

    @cached_property
    def _tables(self) -> Tables:
        """What the loops need to know of points, elements and transmits, delays in samples."""
        wavelength = 1.0 / (self.centre_hz * float(np.mean(self.slowness_s_mm)))
        times = self.transmits.times_s(self.points_mm, self.slowness_s_mm, wavelength)
        weight = self.transmits.weights(self.points_mm, wavelength)
        nepers_per_mm = self.attenuation_db_cm_mhz * 1e-6 * self.centre_hz / 10 * np.log(10) / 20
        loss = self._transmit_loss(times / self.slowness_s_mm, nepers_per_mm)
        return Tables.of(
            self.domain.dtype,
            self.device,
            points=self.points_mm,
            samples_per_mm=self.slowness_s_mm * self.sampling_hz,
            elements=self.elements_mm,
            transmit_delay=(times - self.first_sample_s[:, None]) * self.sampling_hz,
            transmit_weight=weight * loss,
            transmit_loss=loss,
            how=Receive(
                self.f_number,
                WINDOWS[self.window],
                self.element_width_mm / wavelength,
                nepers_per_mm,
                self.spreading,
                self.demodulation_hz / self.sampling_hz,
                self.interpolation == "cubic",
            ),
        )

    def _transmit_loss(self, path_mm: NDArray[np.float64], nepers_per_mm: float) -> NDArray[np.float64]:
        """What is left of each wave after its way, (transmit, point)."""
        loss = np.exp(-nepers_per_mm * np.maximum(path_mm, 0.0))
        focus = self.transmits.focus_mm[:, None]
        if self.spreading:
            from_source = np.where(focus <= 0, np.maximum(path_mm - focus, 1e-3), 1.0)
            loss *= np.where(focus <= 0, np.maximum(-focus, 1.0) / from_source, 1.0)
        return np.asarray(loss)

    @cached_property
    def _coverage(self) -> tuple[Tensor, Tensor]:
        """Per point: what its recorded echoes add up to where q is 1, and over elements the squares of theirs."""
        total, squares = self._loops.coverage(self.range.shape[-1], self._tables)
        return total.reshape(self.domain.shape), squares.reshape(self.domain.shape)

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
            "slowness_s_mm", "f_number", "window", "interpolation", "element_width_mm", "attenuation_db_cm_mhz",
            "spreading",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        own |= {"samples": self.range.shape[-1], "domain_axes": self.domain.axes, "dtype": self.domain.dtype}
        own["device"] = self.device
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
