"""A recovery as text for people: what was found, then the weights, one line for each that differs."""

from __future__ import annotations

from fractions import Fraction
from html import escape

from suite.algebra.symbols import CLIP
from suite.recovery.findings import Findings
from suite.recovery.identify import LARGEST, simplicity
from suite.recovery.remarks import remarks
from suite.recovery.weight_lines import LINES, lines, named, part_name, substituted


def as_text(found: Findings) -> str:
    """The report."""
    return "\n".join([headline(found), *remarks(found), "", *weight_table(found)])


def as_html(found: Findings) -> str:
    """The report as an HTML table, for notebooks."""
    said = "".join(f"<p>{escape(line)}</p>" for line in (headline(found), *remarks(found), *_caption(found)))
    rows = "".join(
        f"<tr><td>{escape(line.label)}</td><td>{escape(line.weight)}</td><td>{escape(line.share)}</td></tr>"
        for line in lines(found)[:LINES]
    )
    heads = "".join(f"<th>{name}</th>" for name in ("units", "weight", "formula"))
    more = "".join(f"<p>{escape(line)}</p>" for line in _cut(found))
    return f"<div>{said}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"


def weight_table(found: Findings) -> list[str]:
    """The weights, those that are the same on one line; the first lines only of a long table."""
    rows = lines(found)[:LINES]
    wide = max(len(row.label) for row in rows)
    written = [f"  {row.label:{wide}}  {row.weight:>12}  {row.share}".rstrip() for row in rows]
    return [*_caption(found), *written, *(f"  {line}" for line in _cut(found))]


def _caption(found: Findings) -> list[str]:
    if found.linear:
        return []
    beneath = found.cause is not None and found.cause.weights is not None
    return ["The weights beneath it:" if beneath else "The nearest weights, for what they are worth:"]


def _cut(found: Findings) -> list[str]:
    more = len(lines(found)) - LINES
    return [f"… {more} lines more: .frame has them all"] if more > 0 else []


def headline(found: Findings) -> str:
    """What the step does, in one sentence."""
    return f"{_units(found)}: {verdict(found)}."


def verdict(found: Findings) -> str:
    """The same without the number of units, as part of a sentence."""
    if found.norm == 0.0:
        return "the step's gradient is zero"
    if not found.linear:
        cause = found.cause
        said = f"{cause.name}: {cause.says}" if cause else "its cause cannot be told"
        if cause is not None and cause.name == f"rounding of {found.rounding}":
            return f"whether the step is a weighting of them cannot be told ({said})"
        share = f"{found.residual:.2%}" if found.residual >= 1e-4 else f"{100 * found.residual:.2g}%"
        rest = f"{share} of the gradient is something else"
        return f"the step is no weighting of them; {rest} ({said})"
    clipped = f" ({found.cause.name}: {found.cause.says})" if found.cause else ""
    return f"{_weights(found)}{clipped}"


def _units(found: Findings) -> str:
    count, n = len(found.weights), found.units.n
    samples = f"{n} sample{'s' * (n != 1)}"
    return samples if count == n else f"{count} unit{'s' * (count != 1)} of {samples}"


def _weights(found: Findings) -> str:
    """The formula and the name of the weights."""
    known = int(found.identifiable.sum()) + len(found.silent) == len(found.weights)
    whose = "weights are those of" if known else "gradient is that of"
    convention, written = found.convention, _formula(found)
    if convention is not None and found.scale == 1:
        return f"the {whose} {convention.name}"
    if written:
        unnamed = "" if found.explanation.notes else "those of no registered convention"
        name = unnamed if convention is None else _multiple(found)
        return f"the weights are {written}" + (f", {name}" if name else "")
    if convention is not None:
        return f"the {whose} {_scale(found)} × {convention.name}"
    return "the weights are those of no registered convention"


def _formula(found: Findings) -> str:
    """The formula of all units, of each loss term, or what the weights are proportional to."""
    explanation = found.explanation
    if found.formula is not None:
        return substituted(found.formula, named(found))
    if explanation.by_part:
        numbers = named(found)
        return "; ".join(
            f"{substituted(formula, numbers)} for {part_name(part)}" for part, formula in explanation.by_part
        )
    return "" if explanation.shape is None else f"{explanation.constant:.6g} × {explanation.shape}"


def _multiple(found: Findings) -> str:
    """The convention, times a symbol or clipped; empty where the factor is neither."""
    convention = found.convention
    if found.formula is None or convention is None or convention.product is None:
        return ""
    factor = found.formula / found.products[0]
    if factor.symbols == (CLIP,):
        return f"{convention.name} clipped once"
    if len(factor.powers) <= 1 and not factor.varies and factor != found.formula:
        return f"{substituted(factor, named(found))} × {convention.name}"
    return ""


def _scale(found: Findings) -> str:
    """The scale as a fraction of whole numbers, where it is one."""
    scale = found.scale or 0.0
    return f"{scale:.6g}" if simplicity(scale) is None else str(Fraction(scale).limit_denominator(LARGEST))
