"""Preprocessing of projections, NumPy in and NumPy out: counts to line integrals, views, rotation axis, rings, edges."""
