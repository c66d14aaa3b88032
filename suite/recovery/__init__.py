"""Recovery: the weight that each unit really got in anybody's training step."""

from suite.recovery.assertion import assert_convention
from suite.recovery.causes import Cause
from suite.recovery.recovery import recover
from suite.recovery.result import Recovery
from suite.recovery.solve import Group

__all__ = ["Cause", "Group", "Recovery", "assert_convention", "recover"]
