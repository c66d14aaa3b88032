"""The streaming engine: one forward and one backward pass, and no gradient of any weight.

Each layer's input and the gradient of its output are all that its unit gradients depend on. The Gram
matrix and the reduced gradients are formed from them layer by layer, each the way that takes fewer
operations; units × parameters are never in memory at once.
"""

from suite.engines.streaming.compute import compute

__all__ = ["compute"]
