"""`Case`, `Problem` and `case` under the name that case files import them from: they are `suite.case`'s."""

from suite.case import BATCH_SIZES, Case, Problem, case, cases

__all__ = ["BATCH_SIZES", "Case", "Problem", "case", "cases"]
