"""Draw a figure of a run, for a paper: vector graphics, for the colour-blind and for grey."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError
from suite.machine.streams import aside

if TYPE_CHECKING:
    from suite.figures.weights import Weights

FIGURE_KINDS = ("discrepancy", "scale", "weights", "trajectory", "noise-scale")

EPILOG = """\
examples:
  gradsuite plot results/all --kind discrepancy --out discrepancy.pdf
  gradsuite plot results/all --kind scale --case 'mse*' --width one --out scale.svg
  gradsuite plot claims/reduction-methods --kind weights --out weights.svg

kinds: discrepancy (all pairs of conventions), scale (against the batch size), weights (that recovery
found), trajectory (distance of the two trainings at each step), noise-scale (of each batch size).
It needs matplotlib: pip install '.[plot]' in gradsuite's source tree, or pip install matplotlib.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite plot`."""
    add = parser.add_argument
    add(
        "run",
        metavar="RUN",
        help="the folder of a run; for weights also a source of claims (claims/reduction-methods) or a file "
        "that `gradsuite recover --json` printed",
    )
    add("--kind", choices=FIGURE_KINDS, required=True, help="what to draw; see below")
    add("--out", metavar="FILE", type=Path, required=True, help="a file name that ends in .pdf, .svg or .png")
    add("--width", choices=("one", "two"), default="two", help="columns of a page (default: two)")
    add("--case", action="append", default=[], metavar="GLOB", help="cases by name; repeatable")
    add("--convention", action="append", default=[], metavar="GLOB", help="conventions; repeatable")


def execute(arguments: argparse.Namespace) -> int:
    """Draw one figure.

    Raises:
        UsageError: There is no run, matplotlib is missing, or the run holds nothing of this kind.
    """
    from suite.figures import style
    from suite.machine.write import require_other

    if arguments.out.suffix.lower() not in style.ENDINGS:
        raise UsageError(
            f"--out is {str(arguments.out)!r}: a name that ends in {', '.join(style.ENDINGS)} is needed"
        )
    require_other(arguments.out, Path(arguments.run))
    style.require()
    style.save(arguments.out, arguments.width, _drawing(arguments))
    print(f"Figure: {arguments.out}")
    return 0


def _drawing(arguments: argparse.Namespace) -> Callable[[Any], None]:
    """What draws the figure that was asked for."""
    from suite.figures import discrepancy, noise, scale, trajectory, weights
    from suite.report import series
    from suite.report.heatmap import heatmap
    from suite.report.load import load_run

    kind = arguments.kind
    if kind == "weights":
        shown = _weights(arguments)
        return lambda figure: weights.draw(figure, shown)
    report = load_run(arguments.run, arguments.case, arguments.convention)
    if kind == "discrepancy":
        pairs = heatmap(report)
        _require(len(pairs.names) > 1, kind, "two conventions of one case are needed")
        return lambda figure: discrepancy.draw(figure, pairs)
    if kind == "scale":
        lines = series.curves(report)
        _require(lines, kind, "a convention other than the reference is needed")
        cases = len({row["case"] for row in report.of("discrepancy")})
        return lambda figure: scale.draw(figure, lines, report.environment["reference"], cases)
    if kind == "trajectory":
        paths = series.paths(report)
        _require(paths, kind, "it was --quick, had --check-steps 0, or is of an earlier version")
        return lambda figure: trajectory.draw(figure, paths)
    scales = series.noise_scales(report)
    _require(scales, kind, "it is of an earlier version, or of batches of one sample")
    return lambda figure: noise.draw(figure, scales)


def _require(found: object, kind: str, why: str) -> None:
    if not found:
        raise UsageError(f"the run has nothing for --kind {kind}: {why}")


def _weights(arguments: argparse.Namespace) -> Weights:
    from suite.figures.weights import of_claims, of_file

    if arguments.run.endswith(".json"):
        return of_file(Path(arguments.run))
    rows = _measured(arguments.run)
    if rows is None:
        from suite.report.load import load_run

        rows = load_run(arguments.run, arguments.case).of("claim")
    found = of_claims(rows)
    if len(found) != 1:
        raise UsageError(
            f"{arguments.run} has {len(found)} sets of recovered weights, one is needed: give "
            "claims/reduction-methods, --case, or a file that `gradsuite recover --json` printed"
        )
    return found[0]


def _measured(name: str) -> list[dict[str, Any]] | None:
    """The claims of the source of this name, measured now; None where there is no such source."""
    from suite.claim import current_name, measure_claim
    from suite.discovery import load_claims

    sources, name = load_claims(), current_name(name)
    if name not in sources:
        return None
    with aside():
        return [measure_claim(sources[name], claim) for claim in sources[name].claims()]
