"""What a framework's own word for its reduction means: a product over quantities, and where that is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.units import REGULARISER
from suite.conventions import Convention, conventions
from suite.errors import UsageError, spelling, unknown
from suite.registry import Registry

if TYPE_CHECKING:
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


_ONCE = Formula()


@dataclass(frozen=True)
class CodeLocation:
    """Where a word is read.

    Args:
        repository: on GitHub, `owner/name`.
        commit: that was read.
        path: of the file.
        function: in it.
        version: of the package that was run, or of the one that the commit belongs to.
    """

    repository: str
    commit: str
    path: str
    function: str
    version: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}, {self.path}, {self.function}"


@dataclass(frozen=True)
class Word:
    """What a framework calls its way from losses to one gradient, and what that way is.

    Args:
        name: `framework:word`, as people type it.
        summary: one line.
        meaning: the weight of a unit as a product over quantities of the batch of one optimizer step, all
            micro-batches and ranks in it; None where it is no product, and `unsplit` says what it is.
        unsplit: the registered convention that it is on one rank in one micro-batch.
        typed: what its users write to get it.
        source: where it is read.
        known: whether the framework's own code was `run` against the formula, or only `read`.
        tokens: whether what is counted are tokens, so that lengths must be known.
        penalty: what a penalty that the user adds to each loss is multiplied by.
        note: what else is to know.
    """

    name: str
    summary: str
    meaning: Formula | None
    unsplit: str
    typed: str
    source: CodeLocation
    known: Literal["run", "read"]
    tokens: bool = True
    penalty: Formula = _ONCE
    note: str = ""

    @property
    def framework(self) -> str:
        """What stands before the colon."""
        return self.name.partition(":")[0]

    @cached_property
    def convention(self) -> Convention:
        """The word as a convention, which is in no registry: its coefficients follow from its formula."""
        plain = conventions[self.unsplit]
        if self.meaning is None:
            return replace(plain, name=self.name)
        needs = ("positions",) if self.tokens else ()
        if "Lmax" in self.meaning.symbols:
            needs = (*needs, "max_elements")
        return Convention(
            name=self.name,
            family="frameworks",
            summary=self.summary,
            note=self.note,
            formula=f"Σ_u {self.meaning} · g_u",
            product=self.meaning,
            denominator=plain.denominator,
            used_by=self.framework,
            source=str(self.source),
            against=self.unsplit,
            needs=needs,
            uses_gram=False,
            reference_loop=self._loop,
            column=self._column,
        )

    def _column(self, units: Units) -> Column:
        assert self.meaning is not None  # noqa: S101  `convention` asks
        whole = np.where(units.data, 0, REGULARISER)
        table = replace(
            units,
            microbatch=whole if units.microbatch is None else units.microbatch,
            rank=whole if units.rank is None else units.rank,
        )
        known = Quantities.of(table)
        return units.column(known.column(self.meaning), regulariser=known.value(self.penalty))

    def _loop(self, loop: Loop) -> None:
        """Each micro-batch of each rank with its weights, one `backward()` after another."""
        import torch

        losses = loop.losses()
        weights = torch.as_tensor(self._column(loop.units)).to(losses)
        data = weights[torch.from_numpy(loop.units.data)].reshape(loop.n, -1)
        (data * losses).sum().backward()
        if loop.units.regulariser:
            (weights[-1] * loop.regulariser()).backward()

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {
            "word": self.name,
            "summary": self.summary,
            "weight of a unit": str(self.meaning or conventions[self.unsplit].formula),
            "on one rank, unsplit": self.unsplit,
            "typed": self.typed,
            "source": str(self.source),
            "version": self.source.version,
            "known": _KNOWN[self.known],
            "note": self.note,
        }


_KNOWN = {
    "run": "run: the framework's own code against this formula (tests/frameworks)",
    "read": "read: the code at this commit, not run",
}


def convention_with(name: str, formula: str, like: str) -> Convention:
    """A convention of one's own: the weights of another one's units as a formula.

    Args:
        name: what it is called.
        formula: the weight of a unit, a product in the symbols of formulas.
        like: the registered convention that it is nearest to, for what it says besides.
    """
    tokens = "positions" in conventions[like].needs
    nowhere = CodeLocation("", "", "", "", "")
    return Word(name, formula, Formula.parse(formula), like, "", nowhere, "read", tokens).convention


words: Registry[Word] = Registry("framework's word")


def word(
    name: str,
    meaning: str | None,
    summary: str,
    *,
    unsplit: str,
    typed: str,
    source: CodeLocation,
    known: Literal["run", "read"] = "read",
    tokens: bool = True,
    penalty: str = "1",
    note: str = "",
) -> Word:
    """Register one word; `meaning` and `penalty` are products in the symbols of formulas.

    Raises:
        UsageError: The name is taken, or `unsplit` is no convention.
        ValueError: `meaning` is no product of known symbols.
    """
    conventions[unsplit]
    formula = None if meaning is None else Formula.parse(meaning)
    parsed = Formula.parse(penalty)
    return words.add(
        Word(name, summary, formula, unsplit, typed, source, known, tokens, parsed, note)
    )  # fmt: skip


def words_of(framework: str) -> list[str]:
    """The names of a framework's words, however it is spelt; none where there is no such framework."""
    return [one.name for one in words if spelling(one.framework) == spelling(framework)]


def framework_alone(name: str, own: list[str]) -> UsageError:
    """The error for a framework's name where that of one of its words, `own`, is needed."""
    return UsageError(f"{name!r} is a framework and no word of one: choose {', '.join(own)}")


def convention_of(name: str) -> Convention:
    """The convention that a name means: a registered one's, or a framework's word.

    Args:
        name: such as `token-mean` or `trl:grpo`.

    Returns:
        The convention.

    Raises:
        UsageError: Nothing has this name; the message has the nearest that there are.

    Examples:
        >>> from suite.frameworks import convention_of
        >>> print(convention_of("verl:seq-mean-token-mean").product)
        1/(n·V_i)
    """
    if name in conventions:
        return conventions[name]
    if name in words:
        return words[name].convention
    framework, colon, rest = name.partition(":")
    frameworks = sorted({one.framework for one in words})
    own = words_of(framework)
    if own and not rest:
        raise framework_alone(name, own)
    if colon and framework in frameworks:
        raise unknown("word of a framework", name, own, "gradsuite list frameworks")
    known = [*conventions.names, *words.names]
    if colon and framework != "fault" and spelling(name) not in map(spelling, known):
        raise unknown("framework", framework, frameworks, "gradsuite list frameworks")
    raise unknown("convention", name, known)
