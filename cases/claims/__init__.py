"""Claims of three forum threads on gradients of batches, each put to the test.

The module of a thread, with its claims in `CLAIMS`, is imported when they are measured.
"""

from suite.claim import PREFIX, ClaimSource, claim_sources

claim_sources.add(
    ClaimSource(
        name=PREFIX + "sum-or-average",
        summary="Sum or average of gradients in mini-batch gradient descent?",
        source="stats.stackexchange.com/q/183840",
        module="cases.claims.sum_or_average",
    )
)
claim_sources.add(
    ClaimSource(
        name=PREFIX + "average-gradient",
        summary="How to update a network with the average gradient from a list of losses?",
        source="a question-and-answer page with three code examples, 2025-01-30",
        module="cases.claims.average_gradient",
    )
)
claim_sources.add(
    ClaimSource(
        name=PREFIX + "reduction-methods",
        summary="Why do the gradients of different reduction methods differ in PyTorch?",
        source="datascience.stackexchange.com/q/55151; discuss.pytorch.org/t/49826",
        module="cases.claims.reduction_methods",
    )
)
