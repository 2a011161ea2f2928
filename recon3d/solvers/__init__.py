"""Solvers as plain functions over operators: conjugate gradients, SIRT, total variation, ADMM, proximal maps."""
