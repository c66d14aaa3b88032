"""A run's records that were made up: small, of every kind, and of any number of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suite.records.file import FILE, encode
from suite.records.schema import SCHEMA, name_of

ENVIRONMENT = {
    "kind": "environment", "started": "2026-02-03T04:05:06+00:00", "gradsuite": "0.1.0", "python": "3.12.0",
    "torch": "2.13.0", "opacus": "1.6.0", "numpy": "2.4.6", "device": "cpu", "device_name": "x86_64",
    "commit": "abc123", "dirty": False, "driver": None, "threads": 2, "deterministic": True, "tf32": False,
    "dtype": "float32", "seed": 0, "reference": "mean", "engine": "opacus",
}  # fmt: skip
CLIP = "clip-each-unit"
VERDICTS = {"sum": "scale", "mean": "identical", "half-mean": "scale", "clip-each-unit": "direction",
            "clip-mean": "scale"}  # fmt: skip


def discrepancy(case: str, size: int, batch: str, convention: str, **more: Any) -> dict[str, Any]:
    verdict = VERDICTS.get(convention, "scale")
    scale = {"sum": float(size), "mean": 1.0, "half-mean": 0.5, "clip-each-unit": 0.3}.get(convention, 0.75)
    return {
        "kind": "discrepancy", "case": case, "batch_size": size, "batch": batch, "convention": convention,
        "reference": "mean", "samples": size, "units": size, "engine": "opacus", "refused": {},
        "quantities": {"n": size, "d": 3.0}, "scale": scale, "cosine": 0.9 if verdict == "direction" else 1.0,
        "relative_discrepancy": abs(scale - 1), "residual": 0.4 if verdict == "direction" else 1e-17,
        "max_abs": 0.1, "rounding": 1e-8, "verdict": verdict, "protocol_error": 1e-16, "params": 12,
        "reason": "40.00% of the gradient lies in another direction" if verdict == "direction" else "",
        "device": "cpu", "dtype": "float32", "seed": 0, "seconds": 0.1,
    } | more  # fmt: skip


def rows(cases: tuple[str, ...] = ("one", "two"), sizes: tuple[int, ...] = (2, 8)) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [dict(ENVIRONMENT)]
    for case in cases:
        for size in sizes:
            found += [discrepancy(case, size, batch, name) for batch in ("0", "1") for name in VERDICTS]
            found += [
                {"kind": "noise", "case": case, "batch_size": size, "batch": batch, "samples": size,
                 "trace": 6.0, "square": 2.0} for batch in ("0", "1")
            ]  # fmt: skip
        found += [
            {"kind": "pair", "case": case, "batch_size": 8, "batch": "0", "convention": a, "reference": b,
             "scale": 2.0, "residual": 0.4, "verdict": "direction"}
            for a, b in (("sum", CLIP), ("half-mean", CLIP), (CLIP, "clip-mean"))
        ]  # fmt: skip
        found += [
            {"kind": "proof", "case": case, "batch_size": 8, "samples": 8, "convention": "sum",
             "reference": "mean", "optimizer": optimizer, "steps": 3, "distance": 0.0,
             "distance_unchanged": 0.3, "proof_reason": "", "distance_by_step": [0.0, 0.0, 0.0],
             "distance_unchanged_by_step": [0.1, 0.2, 0.3]} for optimizer in ("SGD", "Adam")
        ]  # fmt: skip
    return found


def write(folder: Path, found: list[dict[str, Any]]) -> Path:
    """A run's folder that holds these rows, the environment first."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = found[0] | {"schema": SCHEMA, "environment": name_of(found[0])}
    name = {"environment": environment["environment"]}
    common = name | {
        "schema": SCHEMA, "started": "", "seconds": 0.1, "peak_memory": None, "device": "cpu",
        "dtype": "float32", "seed": 0, "magnification": 1.0,
    }  # fmt: skip
    done = name | {"item": "all of it", "work": "all", "fingerprint": "", "index": 0}
    data = encode([common | row for row in found[1:]], done, [environment])
    (folder / FILE).write_bytes(data)
    return folder


def many(count: int) -> list[dict[str, Any]]:
    """So many measurements, of twenty cases and five conventions."""
    names = list(VERDICTS)
    found: list[dict[str, Any]] = [dict(ENVIRONMENT)]
    for k in range(count):
        case, size, batch = f"case-{k % 20}", 2 ** (k // 100 % 8), str(k // 800)
        row = discrepancy(case, size, batch, names[k // 20 % 5])
        found.append(
            row | {"scale": (row["scale"] * (1 + k / 1e5)) if row["verdict"] == "direction" else row["scale"]}
        )
    return found


HOSTILE = (
    '</script><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">{{7*7}}'
)


def hostile() -> list[dict[str, Any]]:
    """Names, reasons and versions that try to be code."""
    found = [dict(ENVIRONMENT, device_name=HOSTILE, commit=HOSTILE), *rows((HOSTILE,))[1:]]
    found += [
        discrepancy("tame", 8, HOSTILE, "sum", reason=HOSTILE, engine=HOSTILE, refused={HOSTILE: HOSTILE}),
        discrepancy("tame", 8, "0", HOSTILE, verdict="scale"),
        {"kind": "failure", "case": HOSTILE, "reason": HOSTILE},
        {"kind": "omitted", "case": HOSTILE, "batch_size": 2, "batch": "0", "convention": HOSTILE,
         "reason": HOSTILE},
        {"kind": "claim", "case": "claims/x", "claim": HOSTILE, "claimed": HOSTILE, "measured": HOSTILE,
         "verdict": HOSTILE, "numbers": {}, "note": HOSTILE},
    ]  # fmt: skip
    return found
