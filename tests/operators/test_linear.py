"""The operator algebra, its adjoints and its gradients, checked on small operators against dense matrices."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from operators.blocks import Blocks
from operators.differences import ForwardDifference
from operators.errors import DeviceError, ReconError, ShapeError
from operators.linear import Diagonal, Embedding, FunctionOperator, Identity, LinearOperator
from operators.reduce import inner
from operators.space import Space
from operators.stack import Frames, Stack
from operators.testing import adjoint_error
from operators.tomography import ImageGrid, Projector, TomographyGeometry

SHAPE = (3, 4, 5)


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def image(dtype: torch.dtype) -> Space:
    return Space(("z", "y", "x"), SHAPE, dtype)


def complex_of(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64


def coils(dtype: torch.dtype, real: bool) -> LinearOperator:
    """A real or complex image seen by two coils after a Fourier transform: the shape of MRI."""
    kspace = Space(("coil", "kz", "ky", "kx"), (2, *SHAPE), complex_of(dtype))
    maps = random(2, *SHAPE, dtype=kspace.dtype, seed=5)

    def forward(x: Tensor) -> Tensor:
        return torch.fft.fftn(maps * x.unsqueeze(-4), dim=(-3, -2, -1), norm="ortho")

    def adjoint(y: Tensor) -> Tensor:
        return (maps.conj() * torch.fft.ifftn(y, dim=(-3, -2, -1), norm="ortho")).sum(dim=-4)

    return FunctionOperator(image(dtype if real else kspace.dtype), kspace, forward, adjoint)


def projector(dtype: torch.dtype) -> LinearOperator:
    geometry = TomographyGeometry.parallel([0.1, 0.9, 2.0], 7, 1.3, n_rows=SHAPE[0], row_mm=2.0)
    return Projector(geometry, ImageGrid(SHAPE, (2.0, 1.1, 0.9)), dtype=dtype)


def built_in(dtype: torch.dtype) -> dict[str, LinearOperator]:
    real, complex_ = image(dtype), image(complex_of(dtype))
    weights = Diagonal(random(*SHAPE, dtype=dtype), real)
    dz = ForwardDifference(real, "z", spacing=0.7)
    fft = coils(dtype, real=True)
    return {
        "identity": Identity(real),
        "diagonal": weights,
        "complex diagonal": Diagonal(random(5, dtype=complex_.dtype), complex_),
        "mask": Diagonal(random(4, 1) > 0, complex_),
        "embedding": Embedding(real, 1, 3),
        "difference": dz,
        "coils of a complex image": coils(dtype, real=False),
        "coils of a real image": fft,
        "projector": projector(dtype),
        "composition": projector(dtype) @ weights @ dz,
        "real to complex composition": fft @ weights,
        "sum": weights + dz - 2.0 * Identity(real),
        "scaled": -0.5 * fft,
        "complex scaled": (1 - 2j) * coils(dtype, real=False),
        "gram plus mu": fft.gram + 0.3,
        "adjoint of real to complex": fft.H,
        "partial": projector(dtype).partial(1, 3),
        "stack": Stack([projector(dtype), projector(dtype) @ dz, weights]),
        "complex stack": Stack([fft, 2 * fft]),
        "frames": Frames([projector(dtype), 2 * projector(dtype)]),
        "adjoint of a stack": Stack([fft, weights]).H,
    }


NAMES = sorted(built_in(torch.float64))
MADE_OF_FUNCTIONS = (
    "coils",
    "complex scaled",
    "complex stack",
    "real to complex",
    "gram plus mu",
    "adjoint of a stack",
)
MADE_OF_CLASSES = [n for n in NAMES if not any(part in n for part in MADE_OF_FUNCTIONS) and n != "scaled"]


def dense(A: LinearOperator) -> Tensor:
    """The slow oracle: columns are images of unit vectors (array domains)."""
    assert isinstance(A.domain, Space)
    units = torch.eye(A.domain.size, dtype=A.domain.dtype).reshape(-1, *A.domain.shape)
    columns = [A(u) for u in units]
    flat = [torch.cat([b.reshape(-1) for b in c]) if isinstance(c, Blocks) else c.reshape(-1) for c in columns]
    return torch.stack(flat, dim=1)


def parts(x: Tensor | Blocks) -> tuple[Tensor, ...]:
    return x.tensors if isinstance(x, Blocks) else (x,)


def assert_equal(a: Tensor | Blocks, b: Tensor | Blocks) -> None:
    for one, other in zip(parts(a), parts(b), strict=True):
        assert torch.equal(one, other)


def assert_close(a: Tensor | Blocks, b: Tensor | Blocks, rtol: float = 1e-10) -> None:
    for one, other in zip(parts(a), parts(b), strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.abs().max()))


# Adjoints


@pytest.mark.tiny
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
def test_adjoint(name: str, dtype: torch.dtype, bound: float) -> None:
    A = built_in(dtype)[name]
    assert max(adjoint_error(A, seed) for seed in range(3)) < bound


@pytest.mark.tiny
@pytest.mark.parametrize("name", NAMES)
def test_linear(name: str) -> None:
    A = built_in(torch.float64)[name]
    generator = torch.Generator().manual_seed(1)
    x, y = A.domain.random(generator), A.domain.random(generator)
    assert_close(A(2.5 * x - y), 2.5 * A(x) - A(y))


@settings(max_examples=25, deadline=None)
@given(a=st.floats(-1e3, 1e3), b=st.floats(-1e3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_linear_in_any_combination(a: float, b: float, seed: int) -> None:
    A = built_in(torch.float64)["sum"]
    x, y = random(*SHAPE, seed=seed), random(*SHAPE, seed=seed ^ 1)
    size = abs(a) * float(x.abs().max()) + abs(b) * float(y.abs().max())
    torch.testing.assert_close(A(a * x + b * y), a * A(x) + b * A(y), rtol=1e-12, atol=1e-12 * (1 + 10 * size))


def test_adjoint_of_a_real_domain_is_real_and_takes_the_real_inner_product() -> None:
    A = coils(torch.float64, real=True)
    x, y = A.domain.random(torch.Generator().manual_seed(0)), A.range.random(torch.Generator().manual_seed(1))
    assert A.H(y).dtype == torch.float64
    matrix = dense(A)
    torch.testing.assert_close(A.H(y).reshape(-1), (matrix.mH @ y.reshape(-1)).real)
    assert float(inner(A.H(y), x)) == pytest.approx(float(inner(y, A(x)).real), rel=1e-12)


# Algebra


def test_the_algebra_is_that_of_matrices() -> None:
    real = image(torch.float64)
    A, B = Diagonal(random(*SHAPE), real), ForwardDifference(real, "y")
    a, b, eye = dense(A), dense(B), torch.eye(real.size, dtype=torch.float64)
    for operator, matrix in [
        (A @ B, a @ b),
        (A + B, a + b),
        (A - B, a - b),
        (2.5 * A, 2.5 * a),
        (A * np.float32(2.5), 2.5 * a),
        (np.float64(2.5) * A, 2.5 * a),
        (-A, -a),
        ((A @ B).H, (a @ b).T),
        (B.gram + 0.5, b.T @ b + 0.5 * eye),
        (0.5 + B.gram, b.T @ b + 0.5 * eye),
        (B.gram - 0.5, b.T @ b - 0.5 * eye),
        (1 - B, eye - b),
        (np.float64(1) + B, eye + b),
        (A.H @ (B - A), a.T @ (b - a)),
    ]:
        assert isinstance(operator, LinearOperator)
        torch.testing.assert_close(dense(operator), matrix)


def test_the_adjoint_is_one_object_and_its_adjoint_is_the_operator() -> None:
    for A in built_in(torch.float64).values():
        assert A.H is A.H
        assert A.H.H is A
        assert A.gram is A.gram


def test_the_identity_vanishes() -> None:
    A = coils(torch.float64, real=True)
    here, there = Identity(A.domain), Identity(A.range)
    assert A @ here is A
    assert there @ A is A
    assert here.H is here
    assert here.gram is here
    with pytest.raises(ShapeError, match="Composition needs"):
        A @ there
    with pytest.raises(ShapeError, match="Composition needs"):
        here @ A


@pytest.mark.parametrize("stranger", ["a", None, [1.0], object()], ids=["text", "nothing", "list", "object"])
def test_strangers_are_not_implemented(stranger: object) -> None:
    A = Identity(image(torch.float64))
    for method in ("__matmul__", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__"):
        assert getattr(A, method)(stranger) is NotImplemented, method
    with pytest.raises(TypeError):
        A @ stranger  # type: ignore[operator]


def test_mismatched_partners_are_named() -> None:
    A, B = Identity(image(torch.float64)), Identity(image(torch.float32))
    with pytest.raises(ShapeError, match="between the same spaces"):
        A + B
    with pytest.raises(ShapeError, match="Composition needs"):
        Diagonal(random(*SHAPE), image(torch.float64)) @ Diagonal(random(*SHAPE), image(torch.float32))
    with pytest.raises(ShapeError, match="real number"):
        1j * A
    with pytest.raises(ShapeError, match="real number"):
        np.complex64(1j) * coils(torch.float64, real=True)
    with pytest.raises(DeviceError, match="one device"):
        A + Identity(image(torch.float64), device="meta")
    with pytest.raises(ShapeError, match="between the same spaces"):
        projector(torch.float64) + 1.0  # the identity from images to projections does not exist


# Inputs


def one_sentence(error: BaseException) -> bool:
    return isinstance(error, ReconError) and "\n" not in str(error) and str(error).endswith(".")


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(SHAPE[1:], dtype=torch.float64), r"\(4, 5\) of float64"),
        (torch.zeros((5, 4, 3), dtype=torch.float64), r"z=3, y=4, x=5"),
        (torch.zeros(5, dtype=torch.float64), r"\(5,\)"),
        (torch.zeros(SHAPE), "float32"),
        (torch.zeros(SHAPE, dtype=torch.complex128), "complex128"),
        (Blocks([torch.zeros(SHAPE, dtype=torch.float64)]), "Blocks"),
        (np.zeros(SHAPE), "ndarray"),
    ],
)
def test_a_wrong_input_is_told_in_one_sentence(x: object, said: str) -> None:
    with pytest.raises(ShapeError, match=said) as caught:
        Diagonal(random(*SHAPE), image(torch.float64))(x)
    assert one_sentence(caught.value)


def test_an_input_on_another_device_is_told_in_one_sentence() -> None:
    with pytest.raises(DeviceError, match="computes on cpu, the input lies on meta") as caught:
        Identity(image(torch.float64))(torch.zeros(SHAPE, dtype=torch.float64, device="meta"))
    assert one_sentence(caught.value)


def test_a_cuda_device_without_a_number_is_the_current_one() -> None:
    """Tensors say cuda:0, people say cuda: an operator made on "cuda" must accept tensors of "cuda:0"."""
    assert Identity(image(torch.float32), device="cuda").device.index is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Diagonal(random(2, 5), image(torch.float64)),
        lambda: Diagonal(random(2, *SHAPE), image(torch.float64)),
        lambda: Diagonal(random(5, dtype=torch.complex128), image(torch.float64)),
        lambda: Embedding(image(torch.float64), 2, 2),
        lambda: Embedding(image(torch.float64), 0, 4),
    ],
)
def test_impossible_operators_are_refused(make: Callable[[], LinearOperator]) -> None:
    with pytest.raises(ShapeError) as caught:
        make()
    assert one_sentence(caught.value)


@pytest.mark.tiny
@pytest.mark.parametrize("name", NAMES)
def test_leading_batch_axes(name: str) -> None:
    A = built_in(torch.float64)[name]
    generator = torch.Generator().manual_seed(2)
    items = [A.domain.random(generator) for _ in range(6)]
    columns = zip(*(parts(item) for item in items), strict=True)
    stacked = [torch.stack(list(column)).unflatten(0, (2, 3)) for column in columns]
    batch = Blocks(stacked) if isinstance(items[0], Blocks) else stacked[0]
    for whole, single in zip(parts(A(batch)), zip(*(parts(A(x)) for x in items), strict=True), strict=True):
        torch.testing.assert_close(whole.flatten(0, 1), torch.stack(list(single)), rtol=1e-12, atol=1e-12)


# Gradients


@pytest.mark.tiny
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_adjoint(name: str) -> None:
    A = built_in(torch.float64)[name]
    generator = torch.Generator().manual_seed(3)
    x, y = A.domain.random(generator), A.range.random(generator)
    leaves = [t.clone().requires_grad_() for t in parts(x)]
    result = A(Blocks(leaves) if isinstance(x, Blocks) else leaves[0])
    gradients = torch.autograd.grad(parts(result), leaves, parts(y))
    for gradient, expected in zip(gradients, parts(A.H(y)), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    ["coils of a real image", "coils of a complex image", "projector", "stack", "frames", "identity", "embedding"],
)
def test_gradients_differentiate_twice(name: str) -> None:
    A = built_in(torch.float64)[name]
    assert isinstance(A.domain, Space)
    x = A.domain.random(torch.Generator().manual_seed(4)).requires_grad_()

    def curved(x: Tensor) -> Tensor:
        """Nonlinear around A, so that the second derivative is not zero."""
        energy = [t.abs().square().sum() for t in parts(A(x))]
        return sum(energy[1:], energy[0])

    assert torch.autograd.gradcheck(curved, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(curved, x, fast_mode=True)


def test_double_backward_gives_the_gram() -> None:
    A = coils(torch.float64, real=True)
    x = random(*SHAPE).requires_grad_()
    direction = random(*SHAPE, seed=1)
    (gradient,) = torch.autograd.grad(0.5 * A(x).abs().square().sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, A.gram(x.detach()))
    (second,) = torch.autograd.grad((gradient * direction).sum(), x)
    torch.testing.assert_close(second, A.gram(direction))


def test_two_blocks_that_share_their_input_get_both_gradients() -> None:
    """Blocks may be the very tensor that came in; the gradient must still be the sum over all of them."""
    real = image(torch.float64)
    A = Stack([Identity(real), Identity(real), Diagonal(random(*SHAPE), real)])
    x = random(*SHAPE, seed=1).requires_grad_()
    y = A.range.random(torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(A(x).tensors, x, y.tensors)
    torch.testing.assert_close(gradient, A.H(y))


def test_a_block_that_is_not_used_has_gradient_zero() -> None:
    A = Frames([projector(torch.float64), projector(torch.float64)])
    x = random(2, *SHAPE).requires_grad_()
    A(x)[1].sum().backward()
    assert x.grad is not None
    assert not x.grad[0].any()
    assert x.grad[1].any()


# Slabs


@pytest.mark.tiny
@pytest.mark.parametrize("name", ["identity", "diagonal", "projector", "chain", "scaled", "sum"])
@settings(max_examples=10, deadline=None)
@given(ends=st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda e: e[0] < e[1]))
def test_a_restricted_operator_equals_the_whole_bitwise(name: str, ends: tuple[int, int]) -> None:
    whole = built_in(torch.float32)
    dy = ForwardDifference(image(torch.float32), "y")
    rows = Diagonal(random(3, SHAPE[0], 7), Space(("view", "row", "column"), (3, 3, 7), torch.float32))
    whole["chain"] = rows @ projector(torch.float32) @ whole["diagonal"] @ dy
    whole["sum"] = whole["diagonal"] + 0.5 * dy
    whole["scaled"] = 0.3 * projector(torch.float32)
    A = whole[name]
    part = A.restrict("z", *ends)
    assert part is not None
    generator = torch.Generator().manual_seed(0)
    x, y = A.domain.random(generator), A.range.random(generator)
    assert isinstance(A.range, Space)
    assert_equal(part.operator(x[ends[0] : ends[1]]), part.select(A(x), A.range))
    assert_equal(part.operator.H(part.select(y, A.range)), A.H(y)[ends[0] : ends[1]])


def test_no_slabs_where_slices_share_data() -> None:
    operators = built_in(torch.float64)
    for name in ("difference", "coils of a real image", "composition", "stack", "frames", "gram plus mu"):
        assert operators[name].restrict("z", 0, 2) is None, name


@pytest.mark.parametrize("name", ["identity", "diagonal", "difference", "projector"])
def test_an_axis_that_is_not_there_has_no_slabs(name: str) -> None:
    """Survey grids have no z: asking must not be a fault."""
    assert built_in(torch.float64)[name].restrict("sample", 0, 2) is None


@pytest.mark.parametrize("name", ["projector", "coils of a real image", "difference", "stack"])
def test_partial_operators_add_up_to_the_whole(name: str) -> None:
    A = built_in(torch.float64)[name]
    x = random(*SHAPE)
    total = A.partial(0, 1)(x[:1]) + A.partial(1, 3)(x[1:])
    assert_close(total, A(x))
    y = A.range.random(torch.Generator().manual_seed(1))
    assert_close(A.partial(1, 3).H(y), A.H(y)[1:])


# Norm, copies


@pytest.mark.parametrize("name", ["diagonal", "coils of a real image", "projector", "sum", "stack", "complex scaled"])
def test_norm_is_the_largest_singular_value(name: str) -> None:
    A = built_in(torch.float64)[name]
    matrix = dense(A)
    if isinstance(A.domain, Space) and not A.domain.is_complex and matrix.is_complex():
        matrix = torch.cat([matrix.real, matrix.imag])
    largest = float(torch.linalg.matrix_norm(matrix, 2))
    assert 0.97 * largest < A.norm() <= largest * (1 + 1e-9)
    assert A.norm(max_steps=100, rtol=1e-9) == pytest.approx(largest, rel=3e-3)
    assert A.norm() == A.norm()
    assert A.norm(seed=1) != A.norm(seed=2)


def test_norm_of_nothing_is_zero() -> None:
    assert Diagonal(torch.zeros(1, dtype=torch.float64), image(torch.float64)).norm() == 0.0


@pytest.mark.parametrize("name", MADE_OF_CLASSES)
def test_to_gives_a_new_operator_and_leaves_the_old_one(name: str) -> None:
    A = built_in(torch.float64)[name]
    x = A.domain.random(torch.Generator().manual_seed(0))
    before = A(x)
    assert A.to("cpu", torch.float64) is A
    assert A.to() is A
    narrow = A.to(dtype=torch.float32)
    assert narrow is not A
    assert narrow.domain == A.domain.astype(torch.float32)
    assert narrow.range == A.range.astype(torch.float32)
    low = x.to(torch.complex64 if A.domain.is_complex else torch.float32)
    high = before if isinstance(before, Blocks) else Blocks([before])
    assert_close(narrow(low), high.to(parts(narrow(low))[0].dtype), rtol=1e-5)
    assert_equal(A(x), before)


def test_an_operator_that_cannot_move_says_so() -> None:
    with pytest.raises(DeviceError, match="FunctionOperator has no version for"):
        coils(torch.float64, real=True).to(dtype=torch.float32)


@pytest.mark.parametrize("name", MADE_OF_CLASSES)
def test_operators_survive_pickling(name: str) -> None:
    """Workers get operators by pickle; functions of users aside, all must arrive as they left, caches included."""
    A = built_in(torch.float64)[name]
    x = A.domain.random(torch.Generator().manual_seed(0))
    expected = A(x)
    if isinstance(A.domain, Space):
        A.norm()
    copy = pickle.loads(pickle.dumps(A))
    assert_equal(copy(x), expected)
    assert copy.H.H is copy
    assert (copy.domain, copy.range, copy.device) == (A.domain, A.range, A.device)


def test_repr_tells_the_spaces() -> None:
    assert repr(Identity(image(torch.float32))) == "Identity: (z=3, y=4, x=5) of float32 -> (z=3, y=4, x=5) of float32"
    A = coils(torch.float64, real=True)
    assert repr(A.H).startswith("(FunctionOperator")
    assert " @ " in repr(A @ Diagonal(random(5), A.domain))  # type: ignore[arg-type]
