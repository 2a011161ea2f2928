"""Scratch: arrays that lie in files which are mapped into memory, for what does not fit into it."""

from __future__ import annotations

import gc
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon3d.errors import DiskFullError
from recon3d.io.atomic import is_disk_full

_live: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def zeros_on_disk(folder: Path, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros whose memory is a file without a name in `folder`: its room is taken now, and free again with the tensor.

    Raises
    ------
    DiskFullError
        If the disk has no room for it; a file without its room would end the process at some later write.
    """
    kind = np.dtype(str(dtype).removeprefix("torch."))
    size = math.prod(shape) * kind.itemsize
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
        except OSError as error:
            if is_disk_full(error):
                raise DiskFullError(
                    f"The disk is full: {size} bytes of scratch are needed in {folder}; make room, or raise "
                    "run.max_memory."
                ) from error
            raise
        pages = mmap.mmap(file.fileno(), max(size, 1))
    _live.add(pages)
    return torch.from_numpy(np.ndarray(tuple(shape), kind, pages))


def give_back() -> None:
    """Let the system take the memory in which these arrays are mapped: what they hold stays, in their files."""
    for pages in list(_live):
        pages.madvise(mmap.MADV_DONTNEED)


def release() -> None:
    """Free what a slab took: an operator and its adjoint hold each other, and so all that belongs to them."""
    gc.collect()
