"""The summaries of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from suite.algebra.discrepancy import Verdict
from suite.algebra.significant import significant
from suite.claim import STEP_PREFIX
from suite.records.declaration import Status
from suite.records.fields import Row, fields_of
from suite.report.learning_rates import Formulas, pair_of
from suite.report.rows import RunRows
from suite.report.text_table import Table

STATUSES: tuple[str, ...] = get_args(Status)


def discrepancy_table(report: RunRows, *, brief: bool = False) -> Table:
    """Conventions against the reference and against those they are taken for; maxima over all batches.

    Args:
        report: of the run.
        brief: whether each convention is compared once only, with the one that tells most.
    """
    environment = report.environment
    pairs = _pairs(report.of("discrepancy"), environment["reference"], brief=brief)
    merged: dict[tuple[str, ...], tuple[list[str], list[Row]]] = {}
    for label, rows in pairs.items():
        key = (
            _scale(rows, report.formulas),
            _largest(rows, "relative_discrepancy"),
            _largest(rows, "residual", only=Verdict.DIRECTION),
            _verdicts(rows),
        )
        labels, together = merged.setdefault(key, ([], []))
        labels.append(label)
        together += rows
    formats = {environment["dtype"]: "rounding"}
    if not brief:
        rare = [field.name for field in fields_of("discrepancy") if field.bound == "rounding" and field.rare]
        formats |= {name.removeprefix("rounding_"): name for name in rare}
        formats = {n: c for n, c in formats.items() if any(c in r for r in report.of("discrepancy"))}
    same = [label for key, (labels, _) in merged.items() if _identical(key) for label in labels]
    notes = [f"Identical on every batch: {', '.join(same)}."] if same else []
    return Table(
        name="discrepancies",
        caption=f"Discrepancy of conventions from {environment['reference']!r} (or from the one named "
        f"behind ≠): the largest over {_count(report)}",
        headers=("convention", "scale", "relative", "direction", *formats, "verdict (cases)"),
        widths={"convention": 52, "verdict (cases)": 70},
        paragraphs=("verdict (cases)",),
        rows=[
            [", ".join(labels), *key[:3], *(_largest(rows, column) for column in formats.values()), key[3]]
            for key, (labels, rows) in merged.items()
            if not _identical(key)
        ],
        notes=[
            *notes,
            f"Scale: {report.legend}.",
            "Direction: what no learning rate repairs. "
            f"{', '.join(formats)}: relative difference of the two reference loops in "
            f"{'that format' if len(formats) > 1 else ''.join(formats)}, for pairs that are exactly "
            "proportional.",
        ],
    )


def learning_rate_table(report: RunRows, *, brief: bool = False) -> Table:
    """Pairs of conventions with the same scale and status share a row; `brief` as above."""
    entries: dict[tuple[str, str, str], list[str]] = {}
    rates = [r for r in report.learning_rate_rows if r["optimizer"] == "SGD"]
    for label, group in _pairs(rates, report.environment["reference"], brief=brief).items():
        by_case = {case: _law(rows, report.formulas) for case, rows in _by(group, "case").items()}
        for law in dict.fromkeys(by_case.values()):
            where = [case for case, other in by_case.items() if other == law]
            entries.setdefault(law, []).append(_label(label, where, len(by_case)))
    order = sorted(entries, key=lambda law: (STATUSES.index(law[2]), len(law[0]), law[0]))
    return Table(
        name="learning_rates",
        caption=f"Learning rate of SGD that takes the same step as {report.environment['reference']!r} "
        "(or as the one named behind ≠)",
        headers=("scale", "learning rate", "status", "conventions"),
        widths={"scale": 52, "conventions": 70},
        paragraphs=("conventions",),
        rows=[[*law, ", ".join(entries[law])] for law in order],
        notes=[
            "Exact: one rate for all batches of n samples, the ragged last one having its own n. "
            "Varies: another rate for each batch."
        ],
    )


def claim_table(report: RunRows) -> Table:
    """The claims of the threads, each with what was measured and its verdict."""
    return Table(
        name="claims",
        caption="Claims of forum threads, put to the test",
        headers=("thread", "claimed", "measured", "verdict"),
        rows=[
            [row["case"].partition("/")[2], row["claimed"], row["measured"], row["verdict"]]
            for row in report.of("claim")
            if not row["case"].startswith(STEP_PREFIX)
        ],
        widths={"claimed": 34, "measured": 52, "verdict": 28},
        paragraphs=("claimed", "measured", "verdict"),
    )


def _by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def _pairs(rows: Iterable[Row], reference: str, *, brief: bool) -> dict[str, list[Row]]:
    """The rows by pair of conventions; where the other one is not the reference, the label names it."""
    pairs: dict[str, list[Row]] = {}
    elsewhere = {row["convention"] for row in rows if row["reference"] != reference}
    for row in rows:
        name, other = row["convention"], row["reference"]
        if name == other or (brief and other == reference and name in elsewhere):
            continue
        pairs.setdefault(name if other == reference else f"{name} ≠ {other}", []).append(row)
    return pairs


def _identical(key: Sequence[str]) -> bool:
    return key[-1].startswith(Verdict.IDENTICAL.value) and "," not in key[-1]


def _largest(rows: Sequence[Row], key: str, only: Verdict | None = None) -> str:
    values = [
        row[key]
        for row in rows
        if row.get(key) is not None and (only is None or row["verdict"] == only.value)
    ]
    return significant(max(values), 2) if values else "–"


def _scale(rows: Sequence[Row], known: Formulas) -> str:
    """The formulas of the scale in the cases that have one, or else its range."""
    names = {pair_of(row): known[pair_of(row)] for row in rows if pair_of(row) in known}
    if names and None not in names.values():
        distinct = list(dict.fromkeys(map(str, names.values())))
        if len(distinct) <= 2:
            return " or ".join(distinct)
    scales = [row["scale"] for row in rows if row["scale"] is not None]
    if not scales:
        return "–"
    low, high = significant(min(scales), 3), significant(max(scales), 3)
    return low if low == high else f"{low}–{high}"


def _verdicts(rows: Sequence[Row]) -> str:
    """How many cases end in each verdict, a case counting with its worst batch."""
    order = [verdict.value for verdict in Verdict]
    worst = {
        case: max((row["verdict"] for row in group), key=order.index)
        for case, group in _by(rows, "case").items()
    }
    counts = {verdict: list(worst.values()).count(verdict) for verdict in order}
    return ", ".join(f"{verdict} {count}" for verdict, count in counts.items() if count)


def _count(report: RunRows) -> str:
    rows = report.of("discrepancy")
    cases = {row["case"] for row in rows}
    batches = {(row["case"], row["batch_size"], row["batch"]) for row in rows}
    return f"{len(batches)} batches of {len(cases)} case{'s' if len(cases) != 1 else ''}"


def _law(rates: Sequence[Row], known: Formulas) -> tuple[str, str, str]:
    """Scale, learning rate and status of one pair in one case, over all its batches."""
    # A zero gradient on both sides says nothing against the other batches.
    rates = [row for row in rates if row["scale_min"] is not None] or rates
    status = max((row["status"] for row in rates), key=STATUSES.index)
    if status == "impossible":
        return "–", "none", status
    found = known.get(pair_of(rates[0]))
    if found is not None:
        return str(found), f"× {found.inverse}", status
    if status == "exact":
        return "by batch size", "by batch size", status
    return "of the data", "one a batch", status


def _label(name: str, where: Sequence[str], total: int) -> str:
    if len(where) == total:
        return name
    return f"{name} ({where[0] if len(where) == 1 else f'{len(where)} of {total} cases'})"
