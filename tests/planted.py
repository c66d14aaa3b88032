"""Plants errors in copies of the package, one at a time, and reports which of them the tests find.

`python -m tests.planted` exits with 0 if every one is found. Each error names the tests that are to find it,
so that one run of a few seconds tells; all of them run under the `ci` profile, and must pass where nothing is
planted. An error whose place is gone is no error found: the script ends at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = (
    "gradsuite.py", "suite", "cases", "tests", "examples", "results", "docs", "pyproject.toml", "README.md",
)  # fmt: skip


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

    def text(self, root: Path) -> str:
        """The file with the error in it.

        Raises:
            LookupError: What the error replaces is not there, or not once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.right) != 1:
            raise LookupError(f"{self.file} has {self.right!r} {text.count(self.right)} times, not once")
        return text.replace(self.right, self.wrong)


CONVENTIONS = "tests/conventions/test_conventions.py::test_coefficients_give_what_the_literal_loop_leaves"
FORMATS = (
    "tests/equivalence/test_laws_held.py::"
    "test_a_gram_matrix_of_gradients_in_any_format_is_that_of_their_float64_values[dtype2]"
)
LAWS = (
    "tests/equivalence/test_laws.py::"
    "test_a_power_of_two_leaves_the_trajectory_and_scales_the_state_bit_for_bit[Adam]"
)
ENGINES = (
    "tests/equivalence/test_laws_held.py::"
    "test_engines_agree_with_autograd_and_with_their_own_gram_matrix_or_refuse"
)

PLANTED = (
    Planted(
        "a coefficient",
        "suite/conventions/averages.py",
        "return units.column(per(units.n) * per(units.sample_total()))",
        "return units.column(per(units.n) * per(units.elements))",  # the same where samples have one part
        (CONVENTIONS,),
    ),
    Planted(
        "an exponent",
        "suite/equivalence/laws.py",
        "_EPS = Entry(1e-8, 1, ADDED_TO_ROOT)",
        "_EPS = Entry(1e-8, 2, ADDED_TO_ROOT)",
        (LAWS,),
    ),
    Planted(
        "a clip order",
        "suite/conventions/clipping.py",
        "return _clipped(units, mean.column(units), gram)\n",
        "return _clipped(units, sum_.column(units), gram) * per(units.n)\n",
        (CONVENTIONS,),
    ),
    Planted(
        "a Gram block",
        "suite/engines/unit_gradients.py",
        "        a, b = as_rows(block), as_rows(others[name])\n",
        "        a, b = as_rows(block), as_rows(others[name])\n"
        "        if block[0].numel() == 1:\n"  # the bias of one output
        "            continue\n",
        (ENGINES,),
    ),
    Planted(
        "a chunk boundary",
        "suite/recovery/solve.py",
        "wanted = slice(start, start + CHUNK)",
        "wanted = slice(start, start + CHUNK - 1)",  # the same up to 16383 parameters
        ("tests/recovery/test_solve.py",),
    ),
    Planted(
        "a chunk boundary",
        "suite/engines/chunks.py",
        "for begin in range(start, stop, max(1, step))]",
        # The same unless one sample is left over.
        "for begin in range(start, max(stop - 1, start + 1), max(1, step))]",
        ("tests/engines/test_chunks.py",),
    ),
    Planted(
        "a weight divisor",
        "suite/conventions/weights.py",
        "return units.column(weight * per(units.total(units.elements * (weight != 0))))",
        "return units.column(weight * per(units.total(units.elements * np.minimum(weight, 1))))",
        (CONVENTIONS,),
    ),
    Planted(
        "a dtype cast",
        "suite/engines/unit_gradients.py",
        'return part.cpu().double() if part.device.type == "mps" else part.double()',
        'return part.cpu().double() if part.device.type == "mps" else part',  # the same in float64
        (FORMATS,),
    ),
    Planted(
        "a resume key",
        "suite/running/worker.py",
        "known.append([o.device_type, o.dtype, o.engine, chosen, o.reference, o.seed])",
        "known.append([o.device_type, o.dtype, o.engine, chosen, o.reference])",
        ("tests/running/test_driver.py::test_other_settings_are_kept_beside",),
    ),
    Planted(
        "a verdict threshold",
        "suite/algebra/discrepancy.py",
        "nothing = np.sqrt(len(a) * precision)",
        "nothing = np.sqrt(len(a)) * precision",
        ("tests/algebra/test_discrepancy.py",),
    ),
    Planted(
        "a recovery bound",
        "suite/recovery/solve.py",
        "spread = np.linalg.norm(inverse, axis=1) * (rounding + residual)",
        "spread = np.linalg.norm(inverse, axis=1) * residual",
        ("tests/recovery/test_recovery.py::test_any_coefficients_come_back_within_the_stated_bound",),
    ),
)
"""A place may have several errors: it counts as found where all of them are."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="plant only the errors whose names hold one of these words")
    asked = parser.parse_args(arguments).what
    chosen = [p for p in PLANTED if not asked or any(word in p.what for word in asked)]
    if not chosen:
        parser.error(f"no error is named so: there are {', '.join(p.what for p in PLANTED)}")
    for planted in chosen:
        planted.text(ROOT)  # before the first minute is spent
    missed: set[str] = set()
    say = sys.stdout.write
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        # A test that fails on the sound package would find anything.
        sound = pool.submit(plant, None, tuple(dict.fromkeys(test for p in chosen for test in p.tests)))
        results = [(planted, pool.submit(plant, planted, planted.tests)) for planted in chosen]
        for planted, result in results:
            told = result.result()
            if not told:
                missed.add(planted.what)
            say(f"{'found ' if told else 'MISSED'}  {planted.what} ({planted.file})  {told}\n")
            sys.stdout.flush()
        if sound.result():
            raise RuntimeError(f"nothing is planted, and a test fails: {sound.result()}")
    places = {planted.what for planted in chosen}
    say(f"{len(places - missed)} of {len(places)} planted errors are found; without them all tests pass.\n")
    return 1 if missed else 0


def plant(planted: Planted | None, tests: Sequence[str]) -> str:
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
        if planted is not None:
            (copy / planted.file).write_text(planted.text(copy), encoding="utf-8")
        return _first_failure(copy, tests)


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
