"""The errors that are planted at night still have their places."""

from __future__ import annotations

import pytest

from tests.planted import PLANTED, ROOT, Planted


@pytest.mark.parametrize("error", PLANTED, ids=lambda error: f"{error.what}, {error.file}")
def test_the_place_of_each_planted_error_is_there_once(error: Planted) -> None:
    assert error.wrong in error.text(ROOT)
