"""After how many projections a stored matrix would pay, measured: why CT has none among its projectors."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon3d.runtime.memory import MEBI


@dataclass(frozen=True)
class BreakEven:
    """What a pair of forward and back projections costs by the kernels and by ASTRA's matrix as CSR.

    side, views, slices : the problem; as many columns as the image has pixels on its diagonal
    build_s, mebibytes : what the matrix and its transpose cost
    kernels_s, matrix_s : a pair, over all slices; CPU seconds, as is `build_s`
    """

    side: int
    views: int
    slices: int
    build_s: float
    mebibytes: float
    kernels_s: float
    matrix_s: float

    @property
    def pairs(self) -> float:
        """How many pairs make up for building the matrix; infinite where each takes longer than by the kernels."""
        gain = self.kernels_s - self.matrix_s
        return self.build_s / gain if gain > 0 else float("inf")

    def __str__(self) -> str:
        pays = "never pays" if self.pairs == float("inf") else f"pays after {self.pairs:.0f} pairs"
        return (
            f"{self.slices} slice{'s' if self.slices > 1 else ''}: {pays} "
            f"({1e3 * self.matrix_s:.3g} ms a pair, kernels {1e3 * self.kernels_s:.3g} ms)"
        )


def break_even(side: int, views: int, slices: tuple[int, ...] = (1, 4, 16), repeats: int = 5) -> list[BreakEven]:
    """Measure on this machine and with its threads: parallel beam, float32, `slices` as alternatives.

    Raises
    ------
    ImportError
        Without ASTRA, which makes the matrix.
    """
    import astra
    import torch

    from operators.tomography import ImageGrid, Projector, TomographyGeometry

    angles, columns = np.arange(views) * np.pi / views, int(np.ceil(side * 2**0.5))
    began = time.process_time()
    volume = astra.create_vol_geom(side, side)
    handle = astra.create_projector("linear", astra.create_proj_geom("parallel", 1.0, columns, angles), volume)
    matrix_id = astra.projector.matrix(handle)
    matrix = astra.matrix.get(matrix_id).astype(np.float32)
    astra.matrix.delete(matrix_id)
    astra.projector.delete(handle)
    forward, back = (_csr(m) for m in (matrix, matrix.T.tocsr()))
    build_s, mebibytes = time.process_time() - began, 2 * (matrix.data.nbytes + matrix.indices.nbytes) / MEBI
    found = []
    for n in slices:
        A = Projector(
            TomographyGeometry.parallel(angles, columns, n_rows=n),
            ImageGrid((n, side, side), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
        )
        x = torch.rand(n, side, side)
        y = A(x)

        def by_kernels(A: Projector = A, x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            A(x), A.H(y)

        def by_matrix(x: torch.Tensor = x, y: torch.Tensor = y) -> None:  # which wants slices last, and gives them so
            (forward @ x.flatten(1).T.contiguous()).reshape(views, columns, -1).swapaxes(1, 2).contiguous()
            (back @ y.swapaxes(1, 2).reshape(views * columns, -1)).T.contiguous()

        found.append(
            BreakEven(
                side, views, n, build_s, mebibytes, _cpu_seconds(by_kernels, repeats), _cpu_seconds(by_matrix, repeats)
            )
        )
    return found


def _cpu_seconds(function: Callable[[], object], repeats: int) -> float:
    """The least CPU time of several runs after a warm-up: what runs beside it hardly counts."""
    function()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


def _csr(matrix: Any) -> Any:
    import torch

    rows, columns, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its CSR a beta
        return torch.sparse_csr_tensor(rows, columns, values, matrix.shape, check_invariants=False)
