"""Plants errors in copies of the package, one at a time, and reports which of them the tests find.

`python -m tests.planted` exits with 0 if every one is found. Each error names the tests that are to find it,
so that one run of a few seconds tells; all of them run under the `ci` profile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("suite", "cases", "tests", "examples", "results", "pyproject.toml", "README.md")


@dataclass(frozen=True)
class Planted:
    """One error.

    Args:
        what: is wrong.
        file: that it is planted in.
        right: what stands there, once.
        wrong: what is put in its place.
        tests: that are to fail.
    """

    what: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


PLANTED = (
    Planted(
        "a coefficient",
        "suite/conventions/averages.py",
        "return units.column(per(units.n) * per(units.sample_total()))",
        "return units.column(per(units.n) * per(units.elements))",
        ("tests/conventions/test_conventions.py",),
    ),
    Planted(
        "an exponent",
        "suite/equivalence/laws.py",
        "_EPS = Entry(1e-8, 1, ADDED)",
        "_EPS = Entry(1e-8, 2, ADDED)",
        ("tests/equivalence/test_laws.py",),
    ),
    Planted(
        "a clip order",
        "suite/conventions/clipping.py",
        "return _clipped(units, mean.column(units), gram)\n",
        "return _clipped(units, sum_.column(units), gram) * per(units.n)\n",
        ("tests/conventions/test_conventions.py",),
    ),
    Planted(
        "a Gram block",
        "suite/engines/gradients.py",
        "            total += (rows @ rows.T)",
        "            total = (rows @ rows.T)",
        ("tests/engines/test_engines.py",),
    ),
    Planted(
        "a chunk boundary",
        "suite/recovery/solve.py",
        "wanted = slice(start, start + CHUNK)",
        "wanted = slice(start, start + CHUNK - 1)",
        ("tests/recovery/test_solve.py",),
    ),
    Planted(
        "a weight divisor",
        "suite/conventions/weights.py",
        "return units.column(weight * per(units.total(units.elements * (weight != 0))))",
        "return units.column(weight * per(units.total(units.elements * (weight > 1))))",
        ("tests/conventions/test_conventions.py",),
    ),
    Planted(
        "a dtype cast",
        "suite/engines/gradients.py",
        "else rows.double()",
        "else rows.float()",
        ("tests/test_laws_held.py",),
    ),
    Planted(
        "a resume key",
        "suite/running/bench.py",
        "known.append([s.device_type, s.dtype, s.engine, s.conventions, s.reference, s.seed])",
        "known.append([s.device_type, s.dtype, s.engine, s.conventions, s.reference])",
        ("tests/running/test_driver.py",),
    ),
    Planted(
        "a verdict threshold",
        "suite/discrepancy.py",
        "nothing = np.sqrt(len(a) * precision)",
        "nothing = np.sqrt(len(a) * 1e-8)",
        ("tests/test_discrepancy.py",),
    ),
    Planted(
        "a recovery bound",
        "suite/recovery/solve.py",
        "spread = np.linalg.norm(inverse, axis=1) * (rounding + residual)",
        "spread = np.linalg.norm(inverse, axis=1) * residual",
        ("tests/recovery/test_recovery.py",),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="plant only the errors whose names hold one of these words")
    asked = parser.parse_args(arguments).what
    chosen = [p for p in PLANTED if not asked or any(word in p.what for word in asked)]
    found = 0
    say = sys.stdout.write
    for planted in chosen:
        told = plant(planted)
        found += bool(told)
        say(f"{'found ' if told else 'MISSED'}  {planted.what} ({planted.file})  {told}\n")
        sys.stdout.flush()
    say(f"{found} of {len(chosen)} planted errors are found.\n")
    return 0 if found == len(chosen) else 1


def plant(planted: Planted) -> str:
    """The test that finds the error first; empty where none does.

    Raises:
        LookupError: What the error replaces is not there, or not once.
        RuntimeError: The tests did not run at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            make = shutil.copytree if source.is_dir() else shutil.copy2
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            make(source, copy / name)
        file = copy / planted.file
        text = file.read_text(encoding="utf-8")
        if text.count(planted.right) != 1:
            raise LookupError(
                f"{planted.file} has {planted.right!r} {text.count(planted.right)} times, not once"
            )
        file.write_text(text.replace(planted.right, planted.wrong), encoding="utf-8")
        return _first_failure(copy, planted.tests)


def _first_failure(copy: Path, tests: Sequence[str]) -> str:
    # Bytecode of the original must not be taken for the copy's, nor the installed package for the copy.
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_PROFILE": "ci",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 1 or not failed:
        raise RuntimeError(f"the tests did not run:\n{done.stdout}\n{done.stderr}")
    return failed[0].removeprefix("FAILED ").partition(" - ")[0]


if __name__ == "__main__":
    sys.exit(main())
