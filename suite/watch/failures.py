"""What could not be audited, and how a watch was used wrongly: one line each."""

from __future__ import annotations

from dataclasses import dataclass

from suite.watch.calls import ModelCalls

NO_STEP = (
    "no optimizer that holds the model's parameters made a step: give watch the model that is trained, and "
    "put the whole loop inside `with`"
)


@dataclass(frozen=True)
class Failure:
    """An update that could not be audited, or a whole run.

    Args:
        number: of the update; None where it is the run.
        says: why.
    """

    number: int | None
    says: str

    def __str__(self) -> str:
        return self.says if self.number is None else f"update {self.number}: {self.says}"


def uncalled(calls: ModelCalls) -> str:
    """What to say where no micro-batch was seen."""
    if calls.quiet and not calls.seen:
        return (
            "the model was called under no_grad only: give watch the module that the loop trains, or hand "
            "batches over, `for batch in audit.see(loader):`"
        )
    return (
        "the model was not called since the update before: give watch the module that the loop calls "
        "(inside or outside its wrappers; as model(x), not model.forward(x)), or hand batches over, `for "
        "batch in audit.see(loader):`"
    )
