"""How good a result is: metrics with named ranges, segmentation scores, statistics. Modules are imported by name."""
