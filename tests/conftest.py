"""The profile of the property tests, and what every test may ask for."""

from __future__ import annotations

import os

import pytest

from suite.strategies.profiles import PROFILE_VARIABLE, load_profile
from tests.constants import leave_constants_out

load_profile()
if os.environ.get(PROFILE_VARIABLE, "ci") == "ci":
    leave_constants_out()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what Hypothesis drives, and skip what needs a GPU where there is none, or takes long."""
    import torch

    quick = os.environ.get(PROFILE_VARIABLE) != "nightly"
    takes_long = pytest.mark.skip(reason="takes long: HYPOTHESIS_PROFILE=nightly runs it")
    no_gpu = pytest.mark.skip(reason="needs a CUDA device, and this machine or build of torch has none")
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("property")
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if item.get_closest_marker("slow") and quick:
            item.add_marker(takes_long)


@pytest.fixture(autouse=True)
def _on_the_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not for a GPU finds none, nor do the processes that it starts."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.delenv("PRETEND_CUDA_DEVICES", raising=False)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)
