"""Equivalent hyperparameters: the laws, what follows from them, and the check by training."""

from suite.equivalence.equivalent import Change, Equivalence, Phase, equivalent
from suite.equivalence.law import Law, check_scale
from suite.equivalence.laws import LAWS, law
from suite.equivalence.register import register_law
from suite.equivalence.scales import Scaling, Sizes, scale_between

from suite.equivalence import laws_of_packages, laws_by_layer  # isort: skip  registers them after torch's

__all__ = [
    "LAWS",
    "Change",
    "Equivalence",
    "Law",
    "Phase",
    "Scaling",
    "Sizes",
    "check_scale",
    "convert_state",
    "equivalent",
    "law",
    "laws_by_layer",
    "laws_of_packages",
    "register_law",
    "scale_between",
]


def __getattr__(name: str) -> object:
    if name == "convert_state":  # needs torch, which the command line does without
        from suite.equivalence.state import convert_state

        return convert_state
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
