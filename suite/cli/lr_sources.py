"""Where `gradsuite lr` takes hyperparameters from: PyTorch's own, a dialect's, or a paper's card."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError

if TYPE_CHECKING:
    from suite.conventions import Convention
    from suite.equivalence.dialects import Translation
    from suite.equivalence.equivalent import Equivalence
    from suite.papers.paper import Paper


CLIPS = {"all": "norm", "tensor": "tensor", "entry": "value"}
"""The `--clip` of what a card clips after everything has been added up."""


@dataclass(frozen=True)
class Source:
    """What was asked to be converted.

    Args:
        translation: the optimizer in PyTorch's words.
        given: the hyperparameters in the dialect's words.
        paper: the card that they are from, or None.
    """

    translation: Translation
    given: Mapping[str, Any]
    paper: Paper | None = None

    @property
    def left_out(self) -> bool:
        """Whether the card clips parts of a batch, which is not converted."""
        return (
            self.paper is not None and self.paper.max_norm is not None and self.paper.clip_over not in CLIPS
        )

    @property
    def plain(self) -> bool:
        """Whether these were PyTorch's words from the start."""
        return self.translation.dialect == "torch" and self.paper is None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where hyperparameters are from, and the batch-size rules."""
    where = parser.add_argument_group("framework syntax")
    where.add_argument("--dialect", metavar="NAME", help="of --optimizer and --set: keras, tf1, optax, …")
    where.add_argument("--paper", metavar="NAME", help="convention, sizes and optimizer of a paper's card")
    rule = parser.add_argument_group("for another batch size (heuristics)")
    rule.add_argument("--rule", metavar="NAME", help="a batch-size rule, or a pattern such as '*'")
    rule.add_argument("--to-batch-size", metavar="N", type=int, help="the new batch size")
    rule.add_argument("--noise-scale", metavar="B", type=float, help="noise scale tr Σ/|G|², in samples")


def read_source(args: argparse.Namespace, settings: dict[str, Any]) -> Source:
    """The optimizer and hyperparameters that were asked for, in PyTorch's words.

    Fills what a paper's card knows into `args`: conventions and sizes. Without two conventions or a scale,
    nothing but the words change.

    Raises:
        UsageError: A name, a number or a combination is wrong, or something is missing.
    """
    from suite.equivalence.dialects import translate

    paper = None if args.paper is None else _paper(args)
    dialect = paper.dialect if paper else args.dialect or "torch"
    optimizer = paper.optimizer if paper else args.optimizer
    if optimizer is None:
        raise UsageError("--optimizer is missing: name a class of torch.optim, such as SGD or Adam")
    if paper:
        settings = _overridden(paper, settings)
    only_words = args.target is None and args.scale is None and (args.source is None or paper)
    if only_words and (args.paper or args.dialect or args.rule):
        args.source, args.scale = None, "1"
    translation = translate(dialect, optimizer, settings, batch_size=args.batch_size)
    return Source(translation, settings, paper)


def _paper(args: argparse.Namespace) -> Paper:
    from suite.papers.library import papers

    paper = papers[args.paper]
    for option in ("optimizer", "dialect"):
        if getattr(args, option) is not None:
            raise UsageError(f"--paper says the {option}: leave out --{option}, or --paper")
    if args.source is None and args.scale is None:
        args.source = _weights(paper) if paper.formula and args.target is not None else paper.convention
    if paper.clip_over in CLIPS and args.clip is None:  # another threshold is compared with the same norm
        args.max_norm = paper.max_norm if args.max_norm is None else args.max_norm
        args.clip = CLIPS[paper.clip_over]
    for name, value in paper.sizes.items():
        if getattr(args, name) in (None, 1):
            setattr(args, name, value)
    if args.batch_size is None and args.expected_batch_size is not None and args.target is not None:
        raise UsageError(f"{paper.name} has batches of random size: give --batch-size")
    missing = {"the batch size": "--batch-size"} if args.batch_size is None else {}
    if args.elements is None and args.target is not None and _goes_with_elements(args):
        missing["the elements a sample"] = "--elements"
    if missing and args.target is not None:
        unknown, options = " and ".join(missing), " and ".join(missing.values())
        raise UsageError(f"the card of {paper.name} does not know {unknown}: give {options}")
    return paper


def refuse_cards(args: argparse.Namespace) -> None:
    """Say what a paper's card is for, where `--from` or `--to` names one.

    Raises:
        UsageError: One does.
    """
    from suite.papers.library import papers

    if args.source in papers:
        raise UsageError(f"--from {args.source} is a paper's card: give --paper {args.source} in its place")
    if args.target in papers:
        convention = papers[args.target].convention
        raise UsageError(
            f"--to {args.target} is a paper's card: name a convention (that of the card is {convention})"
        )


def _weights(paper: Paper) -> Convention:
    """The weights on the card, which no registered convention has."""
    from suite.frameworks import convention_with

    if re.search(r"_\w*t", paper.formula):
        raise UsageError(
            f"the weights of {paper.name} are {paper.formula}, of terms of its loss: the sizes of a batch do "
            "not tell their scale; give --scale"
        )
    return convention_with(paper.name, paper.formula, paper.convention)


def _goes_with_elements(args: argparse.Namespace) -> bool:
    """Whether the scale between the two conventions depends on how many elements a sample has."""
    from suite.equivalence.scales import Sizes, scale_between

    try:
        one, two = (
            scale_between(args.source, args.target, Sizes(samples=args.batch_size or 1, elements=elements))
            for elements in (1, 2)
        )
    except UsageError:  # what is wrong with the conventions is said where they are converted
        return False
    return one.scale != two.scale


def _overridden(paper: Paper, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The card's hyperparameters, with those that were given in their place, in either spelling."""
    from suite.equivalence.dialects import dialects

    same: dict[str, set[str]] = {}
    if paper.dialect != "torch":
        parameters = dialects[paper.dialect][paper.optimizer].parameters
        same = {name: {p.name, p.key} for p in parameters for name in (p.name, p.key)}
    replaced = {other for name in settings for other in same.get(name, {name})}
    merged = {k: v for k, v in paper.hyperparameters.items() if k not in replaced} | dict(settings)
    if not paper.has_rate and not {"lr", *same.get("lr", ())} & set(settings):
        raise UsageError(f"the card of {paper.name} has no learning rate: add --set lr=…")
    return merged


def source_text(source: Source, result: Equivalence, *, checked: bool) -> tuple[list[str], list[str]]:
    """What is to be said before the conversion (the card, the verdict) and after (the loop)."""
    from suite.equivalence.dialects import scaled

    before = [_card(source.paper, source.given)] if source.paper else []
    groups = _groups(source.paper, result) if source.paper else []
    if source.translation.dialect == "torch":
        return before, groups
    translation = scaled(source.translation, result.scale)
    same = "the same optimizer as" if source.translation.exact else "NOT the same optimizer as"
    before.append(
        f"PyTorch's {translation.optimizer} is {same} {translation.dialect}'s {translation.written}: "
        f"{source.translation.reason}."
    )
    before.append(own_words(source, result))
    after = groups
    if checked:
        after.append(
            "What was measured is the way from one convention to the other within PyTorch; that the "
            f"translation holds is tested against {translation.dialect}'s formulas, step by step."
        )
    if translation.instructions:
        loop = "\n".join(f"  {line}" for line in translation.instructions)
        after.append(f"In the training loop (suite.equivalence.dialects.prepare does it):\n{loop}")
    after += ["\n".join(f"Note: {note}." for note in translation.notes)] if translation.notes else []
    return before, after


def _groups(paper: Paper, result: Equivalence) -> list[str]:
    """What the optimizer's line leaves out: parameters that are trained otherwise, with their new numbers."""
    from suite.papers.hyperparameters import of_group

    lines = []
    for group in paper.groups:
        own = of_group(group, result.optimizer, result.hyperparameters, result.scale)
        says = [f"{name}={value!r}" for name, value in own.items()]
        if group.gradient_factor != 1:
            says += _of_true_gradient(result, group.gradient_factor)
        lines.append(f"  {group.parameters}: {', '.join(says)}")
    return ["Groups of parameters with values of their own:\n" + "\n".join(lines)] if lines else []


def _of_true_gradient(result: Equivalence, factor: float) -> list[str]:
    """Values for parameters whose gradient in the paper is a multiple of the true one, which a port has."""
    from fractions import Fraction

    from suite.equivalence.equivalent import equivalent

    found = equivalent(result.optimizer, result.hyperparameters, scale=1 / Fraction(factor))
    new = [f"{k}={v!r}" for k, v in found.hyperparameters.items() if v != result.hyperparameters.get(k)]
    exact = "" if found.exact else ", and not exactly"
    return [*new, f"since their gradient is {factor:g} times that of the loss{exact}"]


def own_words(source: Source, result: Equivalence) -> str:
    """The dialect's own optimizer for the new convention, for those who stay with it."""
    from suite.equivalence.dialects import rescale

    translation = source.translation
    try:
        scaled = rescale(translation.dialect, translation.written, source.given, result.scale)
    except UsageError as error:
        return f"In {translation.dialect}'s own words there are no constants: {error}."
    settings = ", ".join(f"{name}={value!r}" for name, value in scaled.items() if value is not None)
    return f"In {translation.dialect}'s own words, exactly:\n  {translation.written}({settings})"


def _card(paper: Paper, given: Mapping[str, Any]) -> str:
    from suite.papers.unstated import unstated_text

    left = unstated_text(paper, given)
    lines = [
        f"{paper.name}: {paper.summary} ({paper.reference})",
        f"  gradient: {paper.convention}; {paper.where} ({paper.verified})",
        f"  optimizer: {paper.optimizer}; {paper.optimizer_where} ({paper.optimizer_verified})",
    ]
    lines += [f"  not stated: {left}"] if left else []
    lines += [f"  groups: {group}" for group in paper.groups]
    if paper.max_norm is not None:
        left = "" if paper.clip_over in CLIPS else "; it goes with parts of a batch: not converted"
        lines.append(f"  clipping: {paper.clipping}{left}")
    lines += [f"  cannot be matched: {paper.lost}"] if paper.lost else []
    return "\n".join([*lines, *(f"  note: {note}" for note in paper.notes)])


def as_dict(source: Source, result: Equivalence) -> dict[str, Any]:
    """The same for JSON."""
    from suite.equivalence.dialects import rescale, scaled

    translation = source.translation
    if source.plain:
        return {}
    own = None
    if translation.dialect != "torch":
        try:
            own = rescale(translation.dialect, translation.written, source.given, result.scale)
        except UsageError:
            own = None
    whole = scaled(translation, result.scale)
    return {
        "exact": whole.exact and result.exact,
        "reason": whole.reason if translation.dialect != "torch" else result.reason,
        "paper": source.paper.card() if source.paper else None,
        "translation": whole.as_dict(),
        "own_words": own,
    }
