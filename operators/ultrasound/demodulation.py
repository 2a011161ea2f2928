"""Demodulation: real RF traces to complex baseband, also where they are sampled below twice their band."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from operators.errors import GeometryError
from operators.linear import LinearOperator
from operators.space import Space


class Demodulation(LinearOperator):
    """The analytic signal of each trace, mixed down by a carrier whose phase is 0 at the first sample.

    ``(D p)(n) = a(n) exp(-2 pi i f_d n / f_s)`` with the analytic signal a of p, so that |D p| is the envelope. It is
    taken by a transform of the whole trace, in the Nyquist zone of the carrier: where ``f_d > f_s / 2`` (bandpass
    sampling) the band appears folded, mirrored in every other zone, and the bins are taken from where it lies then.

    Parameters
    ----------
    shape : of the traces, (transmit, element, sample)
    sampling_hz, carrier_hz : of the traces and of the carrier (the centre frequency of the pulse)
    fractional_bandwidth : of a Gaussian filter about the carrier (-6 dB, full width); None keeps the whole zone. As
        this is the spectrum of the pulse, the adjoint makes echoes with a Gaussian pulse of reflectivities
    """

    domain: Space
    range: Space

    def __init__(
        self,
        shape: tuple[int, int, int],
        sampling_hz: float,
        carrier_hz: float,
        fractional_bandwidth: float | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not (sampling_hz > 0 and carrier_hz > 0):
            raise GeometryError(f"Demodulation needs positive frequencies, got {sampling_hz:g} and {carrier_hz:g} Hz.")
        if fractional_bandwidth is not None and not 0 < fractional_bandwidth <= 2:
            raise GeometryError(f"A fractional bandwidth lies above 0 and up to 2, got {fractional_bandwidth:g}.")
        if math.isclose((2 * carrier_hz / sampling_hz) % 1.0, 0.0, abs_tol=1e-9):
            raise GeometryError(
                f"A carrier of {carrier_hz:g} Hz lies on the edge of a Nyquist zone of {sampling_hz:g} Hz: upper and "
                "lower side band fold onto one another. Sample at another rate."
            )
        axes = ("transmit", "element", "sample")
        wide = torch.complex128 if dtype in (torch.float64, torch.complex128) else torch.complex64
        super().__init__(
            Space(axes, shape, torch.float64 if wide == torch.complex128 else torch.float32),
            Space(axes, shape, wide),
            device,
        )
        self.sampling_hz, self.carrier_hz, self.fractional_bandwidth = sampling_hz, carrier_hz, fractional_bandwidth
        self._spectrum = self._bins(shape[-1]).to(self.device, self.domain.dtype)
        n = torch.arange(shape[-1], dtype=torch.float64)
        turns = n * (carrier_hz / sampling_hz)
        self._carrier = torch.polar(torch.ones_like(n), -2 * math.pi * (turns - turns.floor())).to(self.device, wide)

    def _bins(self, samples: int) -> Tensor:
        """The weight of each bin: twice the response inside the zone of the carrier, 0 outside."""
        rate, carrier = self.sampling_hz, self.carrier_hz
        zone = math.floor(2 * carrier / rate)
        bins = torch.fft.fftfreq(samples, 1 / rate, dtype=torch.float64)
        start = zone * rate / 2
        true_hz = start + (bins - start) % rate  # the frequency in start..start + rate that folds onto the bin
        weights = 2.0 * (true_hz < start + rate / 2).double()
        edges = (true_hz - start).abs(), (true_hz - start - rate / 2).abs()
        weights[torch.minimum(*edges) < 1e-9 * rate] = 0.0  # neither side band's; a constant offset is no echo
        if self.fractional_bandwidth is not None:
            half = 0.5 * self.fractional_bandwidth * carrier
            weights = weights * torch.exp(-math.log(2.0) * ((true_hz - carrier) / half) ** 2)
        return weights

    def _forward(self, x: Tensor) -> Tensor:
        return torch.fft.ifft(torch.fft.fft(x) * self._spectrum) * self._carrier

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.fft.ifft(torch.fft.fft(y * self._carrier.conj()) * self._spectrum).real

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        shape: Any = self.domain.shape
        return Demodulation(shape, self.sampling_hz, self.carrier_hz, self.fractional_bandwidth, dtype, device)
