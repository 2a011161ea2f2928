from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from operators import reduce
from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.reduce import inner, norm, ordered_sum

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (4, 3, 5), (2, 3, 5, 7)])
def test_exact_sums_of_exact_products(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    a, b = random(*shape, dtype=dtype), random(*shape, dtype=dtype, seed=1)
    x, y = a.to(torch.complex128).reshape(-1).tolist(), b.to(torch.complex128).reshape(-1).tolist()
    products = [p.conjugate() * q for p, q in zip(x, y, strict=True)]
    expected = complex(math.fsum(p.real for p in products), math.fsum(p.imag for p in products))
    assert complex(inner(a, b)) == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert complex(ordered_sum(a)) == pytest.approx(complex(sum(x)), rel=1e-13, abs=1e-13)
    assert float(norm(a)) == pytest.approx(math.sqrt(math.fsum(abs(p) ** 2 for p in x)), rel=1e-13)
    assert inner(a, b).dtype == (torch.complex128 if dtype.is_complex else torch.float64)


def test_inner_is_conjugated_in_its_first_argument() -> None:
    a, b = torch.tensor([1j, 2.0]), torch.tensor([1.0 + 0j, 1j])
    assert complex(inner(a, b)) == 1j
    assert complex(inner(b, a)) == -1j


def test_float32_sums_do_not_lose_small_terms() -> None:
    a = torch.full((1, 4000, 100), 1.0 + 2**-20)
    assert float(ordered_sum(a)) == 400000 * (1 + 2**-20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fallback", [False, True])
def test_a_batch_is_its_members_bit_for_bit(dtype: torch.dtype, fallback: bool, monkeypatch) -> None:
    if fallback:
        monkeypatch.setattr(reduce, "_has_kernel", lambda rows: False)
    a, b = random(3, 2, 5, 17, dtype=dtype), random(3, 2, 5, 17, dtype=dtype, seed=1)
    functions: list[Callable[[int, int, int], Tensor]] = [
        lambda i, j, k: inner(a[i, j] if k == 0 else a, b[i, j] if k == 0 else b, k),
        lambda i, j, k: norm(a[i, j] if k == 0 else a, k),
        lambda i, j, k: ordered_sum(a[i, j] if k == 0 else a, k),
    ]
    for function in functions:
        together = function(0, 0, 2)
        assert together.shape == (3, 2)
        assert all(torch.equal(together[i, j], function(i, j, 0)) for i in range(3) for j in range(2))


@pytest.mark.usefixtures("many_threads")
@settings(deadline=None, max_examples=25)
@given(split=st.integers(1, 6), seed=st.integers(0, 2**31), strided=st.booleans())
def test_slabs_strides_and_threads_change_no_bit(split: int, seed: int, strided: bool) -> None:
    a = random(6, 9, 11, dtype=torch.complex64, seed=seed)
    whole = inner(a, a + 1)
    other = a.permute(2, 0, 1).contiguous().permute(1, 2, 0) if strided else a
    partials = [inner(slice_, slice_ + 1) for slab in other.split(split) for slice_ in slab]
    assert complex(whole) == complex(np.add.accumulate([complex(p) for p in partials])[-1])
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert torch.equal(inner(other, other + 1), whole)
    finally:
        numba.set_num_threads(threads)


def test_the_order_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    a = random(7, 5, 9, dtype=torch.float32)
    monkeypatch.setattr(reduce, "_has_kernel", lambda rows: False)
    whole = inner(a, a)
    monkeypatch.setattr(reduce, "_TREE_ELEMENTS", 50)
    assert torch.equal(inner(a, a), whole)
    assert float(whole) == pytest.approx(float(a.double().square().sum()), rel=1e-13)


def test_blocks_add_up_and_mixed_types_are_promoted() -> None:
    a, b = random(2, 3, dtype=torch.float32), random(4, dtype=torch.complex128)
    assert complex(inner(Blocks([a, b]), Blocks([b[:3].expand(2, 3), b]))) == pytest.approx(
        complex((a.double() * b[:3]).sum() + b.abs().square().sum())
    )
    assert float(norm(Blocks([a, b]))) == pytest.approx(math.hypot(float(norm(a)), float(norm(b))))
    assert complex(ordered_sum(Blocks([a, b]))) == pytest.approx(complex(a.double().sum() + b.sum()))
    assert float(inner(a.to(torch.bfloat16), a.to(torch.bfloat16))) > 0


def test_lazy_views_and_gradients_are_resolved() -> None:
    a = random(3, 4, dtype=torch.complex128)
    assert complex(inner(a.conj(), a)) == pytest.approx(complex((a * a).sum()))
    assert not norm(a.real.clone().requires_grad_()).requires_grad


def test_empty_arrays_sum_to_zero() -> None:
    assert float(ordered_sum(torch.zeros(3, 0, 4))) == 0.0
    assert float(norm(torch.zeros(3, 2, 0))) == 0.0


def test_mismatched_elements_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
        inner(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ShapeError, match="one space"):
        inner(torch.zeros(2), Blocks([torch.zeros(2)]))
