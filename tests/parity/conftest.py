"""PyTorch's threads for the comparisons."""

import os

import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for tiny networks: with more, every small operation waits for a core that something else may hold."""
    torch.set_num_threads((os.cpu_count() or 1) if item.get_closest_marker("slow") else 1)
