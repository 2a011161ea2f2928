"""The dot test: whether an adjoint is one. Public, so that users can test their own operators."""

from __future__ import annotations

import torch

from operators.linear import LinearOperator
from operators.reduce import inner, norm


def adjoint_error(operator: LinearOperator, seed: int = 0) -> float:
    """|<Ax, y> - <x, A^H y>| / (|Ax| |y|) for random x and y: about machine precision for a matched pair.

    The inner products are real where the domain or the range is real.

    >>> from operators.linear import Diagonal
    >>> from operators.space import Space
    >>> weights = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    >>> adjoint_error(Diagonal(weights, Space(("x",), (3,), torch.float64))) < 1e-12
    True
    """
    generator = torch.Generator().manual_seed(seed)
    x = operator.domain.random(generator).to(operator.device)
    y = operator.range.random(generator).to(operator.device)
    ax = operator(x)
    left, right = complex(inner(y, ax)), complex(inner(operator.H(y), x))
    complex_linear = operator.domain.is_complex and operator.range.is_complex
    difference = abs(left - right) if complex_linear else abs(left.real - right.real)
    scale = float(norm(ax)) * float(norm(y))
    return difference / scale if scale else difference
