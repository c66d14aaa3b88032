"""What the tests do not run, and why not; fails where nothing says why.

`tox -e coverage` runs the tests under coverage.py and then `python -m tests.uncovered`, which writes
`results/reference/coverage.md`. Nothing is excluded from the numbers. A reason stands in the code itself:
`# uncovered: REASON` on a statement speaks for all of it, `# uncovered branch: REASON` for the way that is
never taken from that line.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tempfile
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILE = ROOT / "results" / "reference" / "coverage.md"
LEAST = 95
"""Per cent of the branches of `suite/` that are to be covered."""

Statement = ast.stmt | ast.excepthandler | ast.match_case

REASON = re.compile(r"#.*?\buncovered( branch)?: (?P<why>\S.*)")


@dataclass(frozen=True)
class Gap:
    """Lines or branches of one function that no test runs, for one reason.

    Args:
        file: path in the repository.
        line: the first of them.
        where: qualified name of the function or class; empty at the top of a module.
        lines: how many lines.
        branches: how many branches.
        why: what the code says about it; empty where it says nothing.
    """

    file: str
    line: int
    where: str
    lines: int
    branches: int
    why: str


def gaps(file: str, source: str, lines: Iterable[int], branches: Iterable[tuple[int, int]]) -> list[Gap]:
    """What of a file is not covered, together where it is one function and one reason.

    Args:
        file: its path in the repository.
        source: its text.
        lines: that were not run.
        branches: that were not taken, as pairs of lines; each counts where it starts.
    """
    tree = ast.parse(source)
    statements, jumps = _reasons(source, tree)
    owners = {
        line: name
        for name, node in _named(tree, "")
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    missed = [(line, 1, 0, statements.get(line, "")) for line in lines]
    missed += [(line, 0, 1, jumps.get(line) or statements.get(line, "")) for line, _ in branches]
    found: dict[tuple[str, str], Gap] = {}
    for line, one_line, one_branch, why in sorted(missed):
        key = owners.get(line, ""), why
        gap = found.get(key, Gap(file, line, key[0], 0, 0, why))
        found[key] = Gap(file, gap.line, gap.where, gap.lines + one_line, gap.branches + one_branch, why)
    return list(found.values())


def _reasons(source: str, tree: ast.Module) -> tuple[dict[int, str], dict[int, str]]:
    """For each line the reason why it is not run; for each line the reason why a jump is not taken."""
    comments = [
        (token.start[0], found)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and (found := REASON.match(token.string))
    ]
    begun: dict[int, Statement] = {}
    for node in ast.walk(tree):
        if isinstance(node, Statement):
            for line in range(_first(node), _head(node) + 1):
                begun.setdefault(line, node)  # the outer of two that begin in one line
    statements: dict[int, str] = {}
    jumps: dict[int, str] = {}
    for line, found in comments:
        node = begun.get(line)
        if node is None:
            raise LookupError(f"line {line}: {found['why']!r} stands where no statement begins")
        last = _head(node) if found[1] else _last(node)
        said = jumps if found[1] else statements
        said |= dict.fromkeys(range(_first(node), last + 1), found["why"])
    return statements, jumps


def _first(node: Statement) -> int:
    if isinstance(node, ast.match_case):
        return node.pattern.lineno
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


def _last(node: Statement) -> int:
    """The last line of the statement; of an `if`, of what it guards, not of its `else`."""
    last: ast.AST = node.body[-1] if isinstance(node, ast.If | ast.match_case) else node
    end = getattr(last, "end_lineno", None)
    assert isinstance(end, int)
    return end


def _head(node: Statement) -> int:
    """The last line before the body of the statement begins."""
    body = getattr(node, "body", None)
    if not isinstance(body, list) or not body:
        return _last(node)
    return max(_first(node), body[0].lineno - 1)


def _named(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Functions and classes with their qualified names, the outer before the inner."""
    for child in ast.iter_child_nodes(node):
        inside = prefix
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield f"{prefix}{child.name}", child
            inside = f"{prefix}{child.name}."
        yield from _named(child, inside)


def report(measured: dict[str, Any], root: Path = ROOT) -> tuple[str, list[Gap]]:
    """The document, and all gaps.

    Args:
        measured: what `coverage json` writes.
        root: of the repository.
    """
    found: list[Gap] = []
    packages: dict[str, list[int]] = {}
    for file, data in sorted(measured["files"].items()):
        summary = data["summary"]
        counts = [summary[k] for k in ("covered_lines", "num_statements", "covered_branches", "num_branches")]
        for package in (file.partition("/")[0] + "/", _package(file)):
            before = packages.setdefault(package, [0, 0, 0, 0])
            packages[package] = [a + b for a, b in zip(before, counts, strict=True)]
        source = (root / file).read_text(encoding="utf-8")
        found += gaps(file, source, data["missing_lines"], [(a, b) for a, b in data["missing_branches"]])
    numbers = "\n".join(
        f"| {name} | {b} | {_per_cent(a, b)} | {d} | {_per_cent(c, d)} |"
        for name, (a, b, c, d) in sorted(packages.items())
    )
    rows = "\n".join(
        f"| {gap.file} | {f'`{gap.where}`' if gap.where else ''} | {gap.lines or ''} | {gap.branches or ''} "
        f"| {gap.why or '**no reason is given**'} |"
        for gap in found
    )
    return TEXT.format(python=sys.version.split()[0], least=LEAST, numbers=numbers, rows=rows), found


def _package(file: str) -> str:
    """`suite/engines/` of `suite/engines/streaming/layers.py`, `suite/*.py` of `suite/algebra/gram.py`."""
    top, *inside = file.split("/")
    return f"{top}/{inside[0]}/" if len(inside) > 1 else f"{top}/*.py"


def _per_cent(covered: int, all_: int) -> str:
    return f"{100 * covered / all_:.1f} %" if all_ else "–"


TEXT = """\
# Coverage: what the tests do not run, and why

Written by `tox -e coverage` with Python {python}; it fails where less than {least} % of the branches of
`suite/` are covered, or where something is not covered and the code does not say why. Nothing is excluded
from the numbers but what only type checkers read. Command lines and workers that the tests start are measured
too.

| | lines | covered | branches | covered |
|---|---|---|---|---|
{numbers}

## Not covered

| file | in | lines | branches | why |
|---|---|---|---|---|
{rows}
"""


def main() -> int:
    import json

    import coverage

    data = coverage.Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        data.json_report(outfile=str(path))
        measured = json.loads(path.read_text(encoding="utf-8"))
    text, found = report(measured)
    FILE.write_text(text, encoding="utf-8")
    return told(measured, found)


def told(measured: dict[str, Any], found: Iterable[Gap]) -> int:
    """Say what is wrong, and with which exit code."""
    summaries = [data["summary"] for file, data in measured["files"].items() if file.startswith("suite/")]
    covered, all_ = (sum(s[k] for s in summaries) for k in ("covered_branches", "num_branches"))
    unexplained = [gap for gap in found if not gap.why]
    for gap in unexplained:
        sys.stderr.write(
            f"{gap.file}:{gap.line}: {gap.lines} lines and {gap.branches} branches are not covered, "
            "and no `# uncovered: REASON` says why\n"
        )
    sys.stdout.write(f"{covered} of {all_} branches of suite/ are covered: {100 * covered / all_:.2f} %\n")
    return 1 if unexplained or covered * 100 < LEAST * all_ else 0


if __name__ == "__main__":
    sys.exit(main())
