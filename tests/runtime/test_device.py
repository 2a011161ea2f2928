"""Device and threads are decided in one place."""

from __future__ import annotations

import os

import numba
import pytest
import torch

from recon3d.errors import DeviceError
from recon3d.runtime.device import allotted_cores, choose_device, set_threads


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"


def test_a_gpu_that_is_asked_for_and_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == "cuda:1"
    assert choose_device("cuda") == "cuda"
    with pytest.raises(DeviceError, match=r"cuda:2 was asked for, but this machine has 2 CUDA devices"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"has 0 CUDA devices: use run.device=cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "tpu:0"])
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(DeviceError, match=r"auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_threads() -> None:
    before, kernels = torch.get_num_threads(), numba.get_num_threads()
    try:
        assert set_threads(1) == 1
        assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)
        assert set_threads(None) == allotted_cores() <= (os.cpu_count() or 1)
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(kernels)
