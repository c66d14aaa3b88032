"""What a translation is: a dialect's optimizer, said in `torch.optim`'s words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PARAM = "param"
"""The key under which `Translation.factors` multiplies the weights themselves."""


@dataclass(frozen=True)
class Schedule:
    """A value that changes from step to step; steps are counted from 1.

    Args:
        formula: how people write it.
        value: gives the value of a step.
    """

    formula: str
    value: Callable[[int], float]

    def __call__(self, step: int) -> float:
        """The value of `step`."""
        return float(self.value(step))

    def values(self, steps: int) -> list[float]:
        """The values of steps 1 to `steps`."""
        return [self(step) for step in range(1, steps + 1)]


@dataclass(frozen=True)
class Translation:
    """An optimizer of a dialect as one of `torch.optim`.

    `exact` says that training takes the same steps, up to rounding, when the whole translation is
    followed: hyperparameters, schedule, initial state and factors. Where it is False,
    `hyperparameters` are the nearest ones and `reason` says what differs and by how much.

    Args:
        dialect: the dialect's name.
        written: the optimizer as the dialect calls it.
        optimizer: the class in `torch.optim`.
        hyperparameters: of that class; for one that is scheduled, the constant that comes nearest.
        exact: whether nothing is lost.
        reason: why, in one line.
        schedule: by hyperparameter, its value at each step, to be set before the step.
        initial_state: by state buffer, the value that fills it before the first step.
        factors: by state buffer (or `param`, the weights), what multiplies it before each step.
        steps: for how many steps schedules are printed.
        notes: what else is to know.
    """

    dialect: str
    written: str
    optimizer: str
    hyperparameters: Mapping[str, Any]
    exact: bool
    reason: str
    schedule: Mapping[str, Schedule] = field(default_factory=dict)
    initial_state: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, Schedule] = field(default_factory=dict)
    steps: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def constant(self) -> bool:
        """Whether the hyperparameters say it all, with nothing to do in the training loop."""
        return not (self.schedule or self.initial_state or self.factors)

    def at(self, step: int) -> dict[str, Any]:
        """The hyperparameters of one step, schedules included."""
        return {**self.hyperparameters, **{k: s(step) for k, s in self.schedule.items()}}

    @property
    def python(self) -> str:
        """The line of Python that builds the optimizer."""
        settings = "".join(f", {name}={value!r}" for name, value in self.hyperparameters.items())
        return f"torch.optim.{self.optimizer}(model.parameters(){settings})"

    @property
    def instructions(self) -> list[str]:
        """What the training loop has to do besides, a line each; empty where `constant`."""
        lines = [
            f"before the first step, fill state {name!r} with {value:g}"
            for name, value in self.initial_state.items()
        ]
        lines += [
            f"before step t = 1, 2, …, set {name} = {schedule.formula}{self._table(schedule)}"
            for name, schedule in self.schedule.items()
        ]
        for name, factor in self.factors.items():
            what = "the weights" if name == PARAM else f"state {name!r}"
            lines.append(f"before step t, multiply {what} by {factor.formula}{self._table(factor)}")
        return lines

    def _table(self, schedule: Schedule) -> str:
        if self.steps is None:
            return ""
        return ": " + ", ".join(f"{value:.6g}" for value in schedule.values(self.steps))

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON; schedules as formula and, where `steps` is given, values."""

        def plain(schedules: Mapping[str, Schedule]) -> dict[str, Any]:
            return {
                name: {"formula": s.formula, "values": s.values(self.steps) if self.steps else None}
                for name, s in schedules.items()
            }

        return {
            "dialect": self.dialect,
            "written": self.written,
            "optimizer": self.optimizer,
            "hyperparameters": dict(self.hyperparameters),
            "exact": self.exact,
            "reason": self.reason,
            "schedule": plain(self.schedule),
            "initial_state": dict(self.initial_state),
            "factors": plain(self.factors),
            "notes": list(self.notes),
        }
