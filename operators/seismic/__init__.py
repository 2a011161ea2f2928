"""Seismic acquisition: which traces of a survey are there."""

from operators.seismic.masks import MASK_FAMILIES, trace_mask
from operators.seismic.traces import TraceSampling

__all__ = ["MASK_FAMILIES", "TraceSampling", "trace_mask"]
