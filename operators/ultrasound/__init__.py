"""Pulse-echo ultrasound: arrays, transmits, demodulation, delay-and-sum and its adjoint, the Born model."""

from operators.ultrasound.born import BornModel, Frames
from operators.ultrasound.companding import compand, expand
from operators.ultrasound.demodulation import Demodulation
from operators.ultrasound.display import SectorSampling, decibels, envelope
from operators.ultrasound.medium import mean_slowness
from operators.ultrasound.probes import linear_array, matrix_array, phased_array
from operators.ultrasound.pulses import pulse_lag_s
from operators.ultrasound.transmits import Transmits

__all__ = [
    "BornModel",
    "Demodulation",
    "Frames",
    "SectorSampling",
    "Transmits",
    "compand",
    "decibels",
    "envelope",
    "expand",
    "linear_array",
    "matrix_array",
    "mean_slowness",
    "phased_array",
    "pulse_lag_s",
]
