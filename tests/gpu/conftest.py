"""The accelerators of the tests in this room: a pretended one, which every machine has, and the CUDA device.

A pretended tensor holds its numbers in the memory of the CPU and says that it lies on another device. It may not be
mixed with tensors of the CPU nor be read by NumPy or numba, and what makes a GPU wait for its host is counted. So the
code that a GPU runs is run, and its numbers compared, where there is no GPU; its speed and its kernels are not.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from operators import tomography
from operators.tomography.astra_cuda import AstraProjector, along_slices, matched, whole_volume

NAME = "pretended"
MAY_MIX = {"aten::copy_", "aten::index", "aten::index_put_", "aten::_index_put_impl_"}
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select"}


class Pretended(Tensor):
    """Says that it lies on an accelerator; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made: Pretended = Tensor._make_wrapper_subclass(cls, held.shape, **layout, device=torch.device(NAME, 0))
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Pretended({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return PretendedDevice.current.run(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """While it is entered, `torch.device("pretended", 0)` can be computed on.

    Attributes
    ----------
    waits : how often which operation made the accelerator wait for its host
    """

    name = f"{NAME}:0"
    current: PretendedDevice

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __enter__(self) -> PretendedDevice:
        PretendedDevice.current = self
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) shows its move to the device
        super().__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._before)
        super().__exit__(*exc)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One operation, on what the tensors hold."""
        name, tensors = func._schema.name, [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        there = [t for t in tensors if isinstance(t, Pretended)]
        if there and name not in MAY_MIX and any(t.ndim and not isinstance(t, Pretended) for t in tensors):
            raise RuntimeError(f"{name} got tensors of the CPU and of the accelerator.")
        target = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
        if there or target == NAME:
            kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
            kwargs |= {"device": torch.device("cpu")} if target else {}
        given, options = tree_map_only(Pretended, lambda t: t.held, (args, kwargs))
        if name == "aten::_conj":  # a lazy conjugate would be lost on the way through the wrapper
            out = torch.ops.aten.conj_physical.default(*given)
        elif name == "aten::_neg_view":
            out = torch.ops.aten.neg.default(*given)
        else:
            out = func(*given, **options)
        leaves_it = target == "cpu" or (name == "aten::copy_" and not isinstance(args[0], Pretended))
        if there and (name in WAITS or leaves_it):
            self.waits[name] += 1
        known = {id(t.held): t for t in there}
        stays = target == NAME if target else bool(there)

        def dressed(t: Tensor) -> Tensor:
            return known[id(t)] if id(t) in known else Pretended(t) if stays else t

        return tree_map_only(Tensor, dressed, out)


class Backend(backend_registration._DummyBackendModule):
    """What torch asks the module of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class PretendedProjector(AstraProjector):
    """The projector of a GPU with our own kernels in the place of ASTRA's calls: it proves what lies around those."""

    device_type = NAME

    _kernels = (None, None)

    def _apply(self, kernel: None, source: Tensor, space: Any) -> Tensor:
        fan, forward = self.geometry.kind == "fan", space == self.range
        rows, grid = (self.geometry.rows(0, 1), self.grid.slab(0, 1)) if fan else (self.geometry, self.grid)
        ours = matched(rows, grid)

        def call(given: Tensor, out: Tensor) -> None:
            """What ASTRA does with a slice, whose rows run downwards, or with a volume and (row, view, column)."""
            assert isinstance(given, Pretended)
            assert given.is_contiguous()
            if forward:
                answer = ours(given.held.flip(0)[None])[:, 0] if fan else ours(given.held).transpose(0, 1)
            else:
                sinogram = given.held[:, None] if fan else given.held.transpose(0, 1)
                answer = ours.H(sinogram.contiguous())
                answer = answer[0].flip(0) if fan else answer
            out.held.copy_(answer)

        target = torch.empty((*source.shape[:-3], *space.shape), dtype=space.dtype, device=self.device)
        pairs = zip(source.detach().reshape(-1, *source.shape[-3:]), target.reshape(-1, *space.shape), strict=True)
        for given, out in pairs:
            (along_slices if fan else whole_volume)(call, given, out, forward)
        return target


@pytest.fixture(scope="session")
def _pretended_backend() -> None:
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch has no devices made in Python; 2.9 and later have")
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Backend())


@pytest.fixture
def pretended(_pretended_backend: None, monkeypatch: pytest.MonkeyPatch) -> PretendedDevice:
    """The pretended device, with a CT projector of its own."""
    real = tomography.projector_for

    def projector_for(geometry: Any, grid: Any, dtype: Any, device: Any, backend: str) -> Any:
        if torch.device(device).type == NAME:
            return PretendedProjector(geometry, grid, dtype, device)
        return real(geometry, grid, dtype, device, backend)

    monkeypatch.setattr(tomography, "projector_for", projector_for, raising=False)
    return PretendedDevice()


class CudaDevice(AbstractContextManager["CudaDevice"]):
    """The real one, by the same interface."""

    name = "cuda"

    def __exit__(self, *exc: object) -> None:
        torch.cuda.synchronize()


@pytest.fixture(params=[NAME, pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> PretendedDevice | CudaDevice:
    """An accelerator; computations on it lie within a `with` of it."""
    if request.param == NAME:
        pretended: PretendedDevice = request.getfixturevalue("pretended")
        return pretended
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return CudaDevice()
