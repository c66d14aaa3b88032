"""`assert_convention`: for people's own tests, what their training step must compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.conventions import conventions
from suite.discrepancy import compare
from suite.errors import UsageError
from suite.recovery.recovery import Recovery, recover
from suite.recovery.text import text

if TYPE_CHECKING:
    from torch import nn

    from suite.batch import Batch
    from suite.protocols import Losses, Regulariser
    from suite.recovery.step import Step
    from suite.units import Units
