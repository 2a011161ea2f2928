"""Seismic acquisition: which traces of a survey are there."""

from operators.seismic.masks import MASK_FAMILIES, trace_mask

__all__ = ["MASK_FAMILIES", "trace_mask"]
