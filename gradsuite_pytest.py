"""A plugin of pytest: `assert_convention` as a fixture, whose failures end at the line of the test.

pytest finds it where gradsuite is installed. Nothing of gradsuite is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def assert_convention() -> Callable[..., None]:
    """`gradsuite.assert_convention`; what cannot be checked fails with one line.

    Called as `assert_convention(step, model, batch, losses, "mean")`: see `gradsuite.assert_convention`.
    """
    import gradsuite

    def check(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        try:
            gradsuite.assert_convention(*args, **kwargs)
        except (gradsuite.UsageError, gradsuite.CaseError) as error:
            pytest.fail(f"this step cannot be checked: {error}", pytrace=False)

    return check
