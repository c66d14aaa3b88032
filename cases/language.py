"""Language: next tokens of lines of very uneven lengths."""

from __future__ import annotations

import cases
from suite.case import Problem, case


@case(dataset="English text shipped with scikit-learn: lines of its data sets' descriptions")
def next_token() -> Problem:
    """Next-token cross-entropy of a small transformer on padded lines of up to 81 characters."""
    longest = cases.data.LONGEST_LINE
    return Problem(
        model=lambda: cases.models.Transformer(vocabulary=128, longest=longest),
        data=cases.data.text(),
        losses=cases.losses.next_token,
        columns=cases.data.token_columns,
        collate=cases.data.trimmed,
        max_elements=longest,
    )
