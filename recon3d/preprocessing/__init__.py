"""Preprocessing of projections, NumPy in and NumPy out: counts, views, rotation axis, rings, edges."""
