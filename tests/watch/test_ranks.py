"""Several ranks: rank 0 recovers over all of them, and no rank ends another's training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import distributed

from tests.watch.ranks import SCENARIOS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this torch has no torch.distributed")


Found = dict[str, list[dict[str, Any]]]


def run(count: int, folder: Path) -> Found:
    """By scenario, what each rank found."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.watch.ranks"]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(count), str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for rank in range(count)
    ]
    for process in ranks:
        _, said = process.communicate(timeout=400)
        assert process.returncode == 0, said
    found: Found = {}
    for scenario in SCENARIOS:
        files = [folder / f"{scenario.__name__}-{rank}.json" for rank in range(count)]
        found[scenario.__name__] = [json.loads(file.read_text()) for file in files]
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return run(2, tmp_path_factory.mktemp("ranks"))


def sizes(rank: int, first: int, count: int) -> list[int]:
    return [2 + (rank + k) % 3 for k in range(first, first + count)]


def test_two_ranks_end_in_the_same_bits_and_rank_0_knows_the_weights_of_both(found) -> None:
    first, second = found["same_bits"]
    assert first["same"]
    assert second["same"]
    assert [update["number"] for update in first["updates"]] == [0, 1, 2, 3]
    assert not second["updates"]
    assert "rank 0 has the audit" in second["text"]
    for number, update in enumerate(first["updates"]):
        own, theirs = sizes(0, 2 * number, 2), sizes(1, 2 * number, 2)
        assert update["rank"] == [0] * sum(own) + [1] * sum(theirs)
        expected = np.concatenate([np.full(n, 1 / (4 * n)) for n in own + theirs])
        np.testing.assert_allclose(update["weights"], expected, rtol=1e-4)
        assert "mean-of-microbatch-means" in update["names"]
    assert not first["failures"]


def test_a_rank_whose_audit_fails_is_told_and_the_run_goes_on(found) -> None:
    first, second = found["fails_on_one_rank"]
    assert len(second["failures"]) == 2
    assert len(first["updates"]) == 2
    assert (
        "Rank 1 handed over no micro-batch: its audit failed: RuntimeError: broken"
        in first["updates"][0]["notes"][0]
    )


def test_a_rank_that_ends_early_is_told_and_ranks_that_do_not_agree_are(found) -> None:
    first, _ = found["ends_early"]
    notes = [" ".join(update["notes"]) for update in first["updates"]]
    assert len(notes) == 3
    assert "Rank 1 uses another gradient" in notes[0]
    assert "Rank 1 handed over no micro-batch: it had ended" in notes[2]


def test_a_rank_without_a_valid_target_has_silent_units(found) -> None:
    first, _ = found["without_targets"]
    update = first["updates"][0]
    assert "global-count" in update["names"]
    assert update["scale"] == 1


def test_sharded_parameters_are_whole_for_recovery(found) -> None:
    first, second = found["fsdp"]
    assert not first["failures"]
    assert not second["failures"]
    assert len(first["updates"]) == 2
    assert all("mean-of-rank-means" in update["names"] for update in first["updates"])


@pytest.mark.slow
def test_four_ranks(tmp_path) -> None:
    first, *_ = run(4, tmp_path)["same_bits"]
    assert first["same"]
    assert all("mean-of-microbatch-means" in update["names"] for update in first["updates"])
