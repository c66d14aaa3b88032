"""A run's records that were made up: small, of every kind, and of any number of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suite.records.file import FILE, encode
from suite.records.schema import name_of
from tests.made_up import record_environment, record_row

ENVIRONMENT = record_environment(
    started="2026-02-03T04:05:06+00:00", python="3.12.0", commit="abc123", dirty=False, threads=2
)
CLIP = "clip-each-unit"
VERDICTS = {"sum": "scale", "mean": "identical", "half-mean": "scale", "clip-each-unit": "direction",
            "clip-mean": "scale"}  # fmt: skip


def row(kind: str, **fields: Any) -> dict[str, Any]:
    """A row that was measured when the environment was."""
    return record_row(kind, **{"environment": ENVIRONMENT["environment"], "started": ""} | fields)


def discrepancy(case: str, size: int, batch: str, convention: str, **more: Any) -> dict[str, Any]:
    verdict = VERDICTS.get(convention, "scale")
    scale = {"sum": float(size), "mean": 1.0, "half-mean": 0.5, "clip-each-unit": 0.3}.get(convention, 0.75)
    apart = verdict == "direction"
    known: dict[str, Any] = {
        "case": case, "batch_size": size, "batch": batch, "convention": convention, "samples": size,
        "units": size, "quantities": {"n": size, "d": 3.0}, "scale": scale, "cosine": 0.9 if apart else 1.0,
        "relative_discrepancy": abs(scale - 1), "residual": 0.4 if apart else 1e-17, "max_abs": 0.1,
        "verdict": verdict, "params": 12, "protocol_error": 1e-16, "magnification": 1.0,
        "reason": "40.00% of the gradient lies in another direction" if apart else "",
    }  # fmt: skip
    return row("discrepancy", **known | more)


def rows(cases: tuple[str, ...] = ("one", "two"), sizes: tuple[int, ...] = (2, 8)) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [dict(ENVIRONMENT)]
    for case in cases:
        for size in sizes:
            found += [discrepancy(case, size, batch, name) for batch in ("0", "1") for name in VERDICTS]
            found += [
                row("noise", case=case, batch_size=size, batch=batch, samples=size, trace=6.0, square=2.0)
                for batch in ("0", "1")
            ]
        found += [
            row("pair", case=case, batch_size=8, convention=a, reference=b, residual=0.4, verdict="direction")
            for a, b in (("sum", CLIP), ("half-mean", CLIP), (CLIP, "clip-mean"))
        ]
        found += [
            row(
                "training_check", case=case, batch_size=8, samples=8, optimizer=optimizer, steps=3,
                distance=0.0, distance_unchanged=0.3, check_reason="", distance_by_step=[0.0, 0.0, 0.0],
                distance_unchanged_by_step=[0.1, 0.2, 0.3],
            ) for optimizer in ("SGD", "Adam")
        ]  # fmt: skip
    return found


def write(folder: Path, found: list[dict[str, Any]]) -> Path:
    """A run's folder that holds these rows, the environment first."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = found[0] | {"environment": name_of(found[0])}
    name = {"environment": environment["environment"]}
    done = name | {"item": "all of it", "work": "all", "fingerprint": "", "index": 0}
    data = encode([row | name for row in found[1:]], done, [environment])
    (folder / FILE).write_bytes(data)
    return folder


def many(count: int) -> list[dict[str, Any]]:
    """So many measurements, of twenty cases and five conventions."""
    names = list(VERDICTS)
    found: list[dict[str, Any]] = [dict(ENVIRONMENT)]
    for k in range(count):
        case, size, batch = f"case-{k % 20}", 2 ** (k // 100 % 8), str(k // 800)
        one = discrepancy(case, size, batch, names[k // 20 % 5])
        if one["verdict"] == "direction":
            one["scale"] *= 1 + k / 1e5
        found.append(one)
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
        row("failure", case=HOSTILE, reason=HOSTILE),
        row("omitted", case=HOSTILE, batch_size=2, batch="0", convention=HOSTILE, reason=HOSTILE),
        row("claim", case="claims/x", claim=HOSTILE, claimed=HOSTILE, measured=HOSTILE, verdict=HOSTILE,
            note=HOSTILE),
    ]  # fmt: skip
    return found
