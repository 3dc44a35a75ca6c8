"""One thread of PyTorch: threads only cost time on networks this small, and beside other tests."""

import importlib.util

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
