"""Benchmarks as a table, and against those that are kept: a warning for each that became slower.

`python -m tests.benchmarks.compare NEW.json…` tells what takes a quarter more of the ordinary pass than in
`results/reference/cpu/benchmarks.json`. Files of one run with the allocator as it is and of one with it
tuned are one set. `--keep FOLDER` writes `benchmarks.json` and `benchmarks.md` there instead, and
`--update FOLDER` does so with what stands there already, where it was not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from suite.report.text_table import Table

REFERENCE = Path(__file__).parents[2] / "results/reference/cpu/benchmarks.json"
SLOWER = 1.25
"""The medians of ratios vary by several per cent from run to run, and by more between machines."""

RATIO = "times one forward and backward pass"
COLUMNS = ("MLP", "LeNet", "ResNet", "GPT", "MLP of 10 M")
FAMILIES = ("mlp", "lenet-groupnorm", "resnet-groupnorm", "gpt", "mlp-10m")

Kept = dict[str, dict[str, Any]]


def read(files: Iterable[Path]) -> Kept:
    """What pytest-benchmark wrote: by name and allocator, what was measured and on what."""
    found: Kept = {}
    for file in files:
        whole = json.loads(file.read_text())
        machine = whole["machine_info"]
        where = f"{machine['cpu']['count']} cores, {machine['cpu']['brand_raw']}"
        for one in whole["benchmarks"]:
            if RATIO in one["extra_info"]:
                extra = one["extra_info"]
                allocator = "tuned" if extra["tuned allocator"] else "default"
                found[f"{one['name'].removeprefix('test_')}, {allocator}"] = {
                    "ratio": round(extra[RATIO], 3),
                    "peak": extra["peak bytes"],
                    "peak of the pass": extra["peak bytes of that pass"],
                    "threads": extra["threads"],
                    "torch": extra["torch"],
                    "machine": where,
                } | {key: value for key, value in extra.items() if key == "seconds to compile"}
    return found


def slower(new: Kept, reference: Kept) -> list[str]:
    """One line for each benchmark of both that takes `SLOWER` times what it took."""
    both = ((name, new[name]["ratio"], reference[name]["ratio"]) for name in new if name in reference)
    return [
        f"{name}: {now:.2f} times the ordinary pass, {before:.2f} in the reference"
        for name, now, before in both
        if now > SLOWER * before
    ]


def table(found: Kept) -> Table:
    """A row for each job, a column for each family: multiples of the ordinary pass, default / tuned."""
    jobs: dict[str, dict[str, list[str]]] = {}
    for name, one in found.items():
        job, family = _split(name.rpartition(", ")[0])
        if family:
            jobs.setdefault(job, {}).setdefault(family, []).append(_ratio(one))
    machines = sorted({f"{x['machine']}, {x['threads']} threads, torch {x['torch']}" for x in found.values()})
    return Table(
        name="benchmarks",
        caption="What unit gradients cost, as a multiple of one forward and backward pass of the same batch "
        "in float32: allocator as it is / tuned.",
        headers=("", *COLUMNS),
        rows=[(job, *(" / ".join(of.get(family, [])) for family in FAMILIES)) for job, of in jobs.items()],
        notes=(f"{'; '.join(machines)}. Medians; c: compiled, in so many seconds that are not counted.",),
        numbers=COLUMNS,
    )


def _split(name: str) -> tuple[str, str]:
    """The job and the family of a benchmark at the family's own size, of others no family."""
    match = re.fullmatch(r"(?P<test>\w+)\[(?P<what>.*)\]", name)
    if not match or match["test"] in ("the_streaming_engine_at_other_sizes", "the_grid"):
        return name, ""
    family = next(f for f in sorted(FAMILIES, key=len, reverse=True) if f in match["what"])
    rest = re.sub(rf"-?{family}-?", "", match["what"])
    job = rest if match["test"] == "engines_at_the_reference_size" else f"{match['test']} {rest}"
    return job.replace("_", " ").replace("-", " ").strip(), family


def _ratio(one: Mapping[str, Any]) -> str:
    seconds = one.get("seconds to compile")
    return f"{one['ratio']:.2f}" + (f" (c {seconds:.0f} s)" if seconds else "")


def keep(found: Kept, folder: Path, *, whole: bool) -> None:
    """Write the benchmarks and their table to a folder, beside what is there unless they are the whole."""
    file = folder / REFERENCE.name
    if not whole and file.exists():
        found = json.loads(file.read_text()) | found
    file.write_text(json.dumps(found, indent=1) + "\n")
    (folder / "benchmarks.md").write_text(table(found).markdown())


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("new", nargs="+", type=Path, metavar="NEW.json")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the reference there")
    parser.add_argument("--update", type=Path, metavar="FOLDER", help="write what is new there")
    chosen = parser.parse_args()
    found = read(chosen.new)
    if chosen.keep or chosen.update:
        keep(found, chosen.keep or chosen.update, whole=bool(chosen.keep))
        return
    told = slower(found, json.loads(REFERENCE.read_text()))
    mark = "::warning::" if os.environ.get("GITHUB_ACTIONS") else "Warning: "
    lines = [table(found).text(), "", *(mark + line for line in told)]
    sys.stdout.write("\n".join([*lines, *([] if told else ["Nothing became slower."]), ""]))


if __name__ == "__main__":
    main()
