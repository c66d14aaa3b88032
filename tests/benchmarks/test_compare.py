"""What became slower is told."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import compare


def benchmark(name: str, ratio: float, *, tuned: bool = False, **extra: object) -> dict[str, object]:
    known = {compare.RATIO: ratio, "peak bytes": 1, "peak bytes of that pass": 1, "tuned allocator": tuned}
    return {"name": name, "extra_info": known | {"threads": 2, "torch": "2"} | extra}


def written(folder: Path, *benchmarks: dict[str, object]) -> Path:
    machine = {"cpu": {"count": 2, "brand_raw": "a processor"}}
    file = folder / "new.json"
    whole = [*benchmarks, {"name": "test_of_something_else", "extra_info": {}}]
    file.write_text(json.dumps({"machine_info": machine, "benchmarks": whole}))
    return file


TABLES = "test_engines_at_the_reference_size[streaming-tables-mlp-10m]"


def test_a_quarter_slower_is_told_and_less_is_not(tmp_path: Path) -> None:
    before = compare.read([written(tmp_path, benchmark(TABLES, 1.0), benchmark("test_a[mlp]", 1.0))])
    after = compare.read([written(tmp_path, benchmark(TABLES, 1.3), benchmark("test_a[mlp]", 1.2))])
    (line,) = compare.slower(after, before)
    assert line.startswith("engines_at_the_reference_size[streaming-tables-mlp-10m], default: 1.30 times")


def test_both_allocators_stand_in_one_cell_and_other_sizes_in_none(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        benchmark(TABLES, 0.78),
        benchmark(TABLES, 0.7, tuned=True),
        benchmark("test_compiled_torch_func[gpt]", 1.1, **{"seconds to compile": 21.3}),
        benchmark("test_the_streaming_engine_at_other_sizes[32-mlp]", 9.0),
    )
    table = compare.table(compare.read([file]))
    assert [list(row) for row in table.rows] == [
        ["streaming tables", "", "", "", "", "0.78 / 0.70"],
        ["compiled torch func", "", "", "", "1.10 (c 21 s)", ""],
    ]


def test_what_is_measured_again_replaces_what_stood_there_and_the_rest_stays(tmp_path: Path) -> None:
    first = compare.read([written(tmp_path, benchmark(TABLES, 1.0), benchmark("test_a[mlp]", 2.0))])
    compare.keep(first, tmp_path, whole=True)
    compare.keep(compare.read([written(tmp_path, benchmark(TABLES, 0.5))]), tmp_path, whole=False)
    kept = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [one["ratio"] for one in kept.values()] == [0.5, 2.0]
    assert "0.50" in (tmp_path / "benchmarks.md").read_text()
