"""Plain autograd, asked in one way everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def grad(
    loss: Tensor, parameters: Sequence[Tensor], weights: Tensor | None = None, *, keep_graph: bool = False
) -> list[Tensor]:
    """The gradient of `loss`, or of losses so weighted, for each parameter; zeros where it depends on none.

    Those zeros require a gradient in torch 2.6, which is why all are detached. Sparse ones, which embeddings
    may leave, are made dense.
    """
    found = torch.autograd.grad(
        loss, list(parameters), weights, retain_graph=keep_graph, materialize_grads=True
    )
    return [(part.to_dense() if part.is_sparse else part).detach() for part in found]


def values(losses: Callable[[], Tensor]) -> Tensor:
    """The losses as numbers, without a graph unless they take derivatives themselves."""
    try:
        with torch.no_grad():
            return losses()
    except RuntimeError:
        with torch.enable_grad():
            return losses().detach()


def parameter_reads(root: Tensor) -> Counter[int]:
    """How often each leaf, by `id`, is read in the graph that `root` was computed by."""
    found: Counter[int] = Counter()
    seen, waiting = set(), [root.grad_fn]
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions:  # type: ignore[union-attr]
            if following is None:
                continue
            leaf = getattr(following, "variable", None)
            if leaf is not None:
                found[id(leaf)] += 1
            elif following not in seen:
                seen.add(following)
                waiting.append(following)
    return found
