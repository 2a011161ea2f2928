"""Arrays on disk: zeros with room of their own, gone with the tensor; TV gives the same numbers on them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from recon3d.errors import DiskFullError
from recon3d.runtime.runner import CaseRun
from recon3d.runtime.scratch import zeros_on_disk
from recon3d.solvers.total_variation import TVProx


def test_zeros_that_nobody_sees(tmp_path: Path) -> None:
    for dtype in (torch.float32, torch.complex64):
        x = zeros_on_disk(tmp_path, (2, 3), dtype)
        assert (x.shape, x.dtype, float(x.abs().sum())) == ((2, 3), dtype, 0.0)
        x += 1
        assert float(x.abs().sum()) == 6.0
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_met_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFullError, match="24 bytes of scratch are needed"):
        zeros_on_disk(tmp_path, (2, 3), torch.float32)


def test_total_variation_on_disk_is_total_variation(tmp_path: Path) -> None:
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    run = CaseRun(scratch=tmp_path)
    assert torch.equal(TVProx(allocate=run.allocate)(x, 0.3, 5), TVProx()(x, 0.3, 5))
    assert float(CaseRun().allocate((2,), x).sum()) == 0.0
