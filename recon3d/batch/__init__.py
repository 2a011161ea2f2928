"""Batches: many cases by one command, on one process, many, or a cluster; finished ones skipped, half-finished ones
resumed."""
