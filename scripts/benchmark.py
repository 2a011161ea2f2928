"""Benchmarks: each prints a small table of times as ratios against a named alternative in the same run.

Those of a room stand in a module of their own, `benchmark_ROOM.py` beside this file.
"""

from __future__ import annotations

import argparse
import resource
import sys
from importlib import import_module

BENCHMARKS = {
    "all": "benchmark_all:everything",
    "supervised": "benchmark_mri:supervised",
    "projector": "benchmark_ct:projector",
    "csr": "benchmark_ct:csr",
    "cone": "benchmark_ct:cone",
    "tv": "benchmark_ct:tv",
    "fbp-memory": "benchmark_ct:fbp_memory",
    "network": "benchmark_priors:network",
    "networks": "benchmark_priors:networks",
    "dds": "benchmark_priors:dds",
    "mri": "benchmark_mri:mri",
    "ultrasound": "benchmark_ultrasound:ultrasound",
    "dynamic": "benchmark_dynamic:dynamic",
    "gpu": "benchmark_gpu:gpu",
}
"""Module and function of each."""


def main() -> None:
    """Run the benchmarks that were named, or all; `peers` stands alone and has options of its own."""
    if sys.argv[1:2] == ["peers"]:
        import_module("peers").main(sys.argv[2:])  # beside this file
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; each of them by default")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; the cores allotted by default")
    options = parser.parse_args()

    from recon3d.runtime.device import set_threads

    print(f"{set_threads(options.threads)} threads")
    for name in options.names or BENCHMARKS:
        module, _, function = BENCHMARKS[name].partition(":")
        getattr(import_module(module), function)()
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
