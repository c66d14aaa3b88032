"""The engines: who computes the gradients of the units, and whether they can be trusted."""

from suite.engines.engine import Engine, Refused, engines

__all__ = ["Engine", "Refused", "engines"]
