"""MRI physics: encoding operators, coil sensitivities, k-space and sampling patterns."""

from operators.mri.encoding import CartesianEncoding, Encoding

__all__ = ["CartesianEncoding", "Encoding"]
