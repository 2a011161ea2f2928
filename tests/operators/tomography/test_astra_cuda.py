"""The guard before ASTRA's CUDA: our errors in place of dead processes and silent zeros."""

import sys
from types import SimpleNamespace

import pytest

from operators.errors import DeviceError, MissingPackageError
from operators.tomography.astra_cuda import require_cuda


def test_no_device_is_an_error_of_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "astra", SimpleNamespace(use_cuda=lambda: False))
    with pytest.raises(DeviceError, match="finds no CUDA device"):
        require_cuda()


def test_a_device_opens_the_door(monkeypatch):
    astra = SimpleNamespace(use_cuda=lambda: True)
    monkeypatch.setitem(sys.modules, "astra", astra)
    assert require_cuda() is astra


def test_astra_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "astra", None)
    with pytest.raises(MissingPackageError, match="pip install astra-toolbox"):
        require_cuda()


def test_the_installed_astra_agrees_with_torch():
    """On a machine without a GPU the real ASTRA must lead to our error, not to a crash."""
    pytest.importorskip("astra")
    import torch

    if torch.cuda.is_available():
        assert require_cuda().use_cuda()
    else:
        with pytest.raises(DeviceError):
            require_cuda()
