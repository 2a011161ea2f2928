"""What all tests share: one thread unless a test asks for more, and no deadlines on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import numba
import pytest
import torch

hypothesis.settings.register_profile("recon3d", deadline=None)
hypothesis.settings.load_profile("recon3d")


@pytest.fixture(autouse=True, scope="session")
def _no_models_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests know the shipped models and those they make, whatever the person who runs them has imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("RECON3D_MODELS", raising=False)
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small kernels lose by a second thread, and workers of the test run share the cores."""
    numba.set_num_threads(1)
    torch.set_num_threads(1)


@pytest.fixture
def many_threads(_one_thread: None) -> None:
    """As many kernel threads as there are, for tests that compare with one."""
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
