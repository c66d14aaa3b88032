"""The engines, which compute the gradients of the units, and the check that each has to pass.

An engine is a module named as people type it: `opacus`, `streaming/`, `torch_func`, `loop`. What all share
stands beside them: `engine` declares them, `per_sample_gradients` runs the first that passes `check`,
`memory_plan` and `chunks` keep to the memory, `unit_gradients` and `basis` are what they hand over.
"""

from suite.engines.engine import Engine, Refused, engines

__all__ = ["Engine", "Refused", "engines"]
