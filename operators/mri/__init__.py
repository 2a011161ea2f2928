"""MRI physics: encoding operators, coil sensitivities, k-space and sampling patterns."""

from operators.mri.encoding import CartesianEncoding, Encoding, typical
from operators.mri.series import CartesianSeries

__all__ = ["CartesianEncoding", "CartesianSeries", "Encoding", "typical"]
