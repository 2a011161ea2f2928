"""The acquisition "seismic": recorded traces, each in a bin of a survey grid."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from operators.linear import LinearOperator
from recon3d.errors import InputError
from recon3d.grid import SurveyGrid
from recon3d.scan import Scan


def seismic(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """The recorded traces (trace, sample) of a cube (crossline, inline, sample).

    The acquisition states the bin of each trace by whole numbers ``crossline`` and ``inline``, counted from 0.
    """
    from operators.seismic import TraceSampling

    if not isinstance(scan.grid, SurveyGrid):
        raise InputError(f"Seismic scans are reconstructed on a SurveyGrid, got {type(scan.grid).__name__}.")
    missing = [name for name in ("crossline", "inline") if name not in scan.acquisition]
    if missing:
        raise InputError(f"The seismic scan '{scan.name}' lacks {' and '.join(missing)}: the bins of its traces.")
    bins = [torch.from_numpy(np.asarray(scan.acquisition[name]).astype(np.int64)) for name in ("crossline", "inline")]
    return TraceSampling(scan.grid.shape, *bins, dtype=dtype, device=device)


def fold_of(scan: Scan) -> NDArray[np.int64]:
    """Traces in each bin of a seismic scan, (crossline, inline)."""
    fold = np.zeros(scan.grid.shape[:2], np.int64)
    np.add.at(fold, tuple(np.asarray(scan.acquisition[name]) for name in ("crossline", "inline")), 1)
    return fold
