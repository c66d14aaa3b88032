"""Several ranks: rank 0 recovers over all of them, and no rank ends another's training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

from suite.errors import UsageError
from suite.watch.context import whole_sequences
from suite.watch.microbatch import Call
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


def test_ranks_that_share_their_sequences_have_each_its_tokens(found) -> None:
    first, _ = found["context"]
    assert not first["failures"]
    means, tokens = first["updates"]
    assert means["rank"] == tokens["rank"] == [0, 0, 0, 1, 1, 1] * 2
    assert "mean-of-rank-means" in means["names"]
    assert "token-mean" in tokens["names"]
    weights = np.array(means["weights"])
    for rank, valid in enumerate(first["valid"]):
        of_rank = weights[np.array(means["rank"]) == rank]
        np.testing.assert_allclose(of_rank[of_rank > 0.01], 1 / (2 * valid), rtol=1e-4)


def test_attention_over_pieces_from_both_ends_has_each_token_at_its_rank(found) -> None:
    first, _ = found["attention"]
    assert not first["failures"]
    means, tokens = first["updates"]
    assert means["rank"] == tokens["rank"] == [0, 0, 1, 1, 1, 1, 0, 0] * 2
    assert "mean-of-rank-means" in means["names"]
    assert "token-mean" in tokens["names"]
    weights = np.array(means["weights"])
    for rank, valid in enumerate(first["valid"]):
        of_rank = weights[np.array(means["rank"]) == rank]
        np.testing.assert_allclose(of_rank[of_rank > 0.01], 1 / (2 * valid), rtol=1e-4)


def test_ranks_that_were_synchronised_too_early_do_not_agree(found) -> None:
    first, _ = found["synchronised_too_early"]
    assert "the ranks do not agree on this update" in first["text"]
    assert "0 for samples" in first["text"]  # rank 1's second micro-batch never came to rank 0


def test_ranks_with_the_same_batches_are_told(found) -> None:
    first, _ = found["without_a_sampler"]
    assert first["updates"][0]["notes"] == ["Micro-batches hold the same tensors: 0 and 1 (from 0)."]


def call(rank: int, positions: list[int], samples: int = 2, **more: Any) -> Call:
    given = torch.tensor([positions] * samples)
    return Call(
        {"input_ids": given * 10, "position_ids": given, "weight": torch.ones(samples), **more}, rank=rank
    )


def test_pieces_of_sequences_are_joined_in_the_order_of_their_positions() -> None:
    (whole,) = whole_sequences([call(0, [0, 1, 6, 7]), call(1, [2, 3, 4, 5])], 2)
    assert whole.batch["input_ids"].tolist() == [[0, 10, 20, 30, 40, 50, 60, 70]] * 2
    assert whole.ranks.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert whole.batch["weight"].shape == (2,)
    (whole,) = whole_sequences([Call(torch.zeros(1, 2), rank=0), Call(torch.ones(1, 2), rank=1)], 2)
    assert whole.batch.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ([call(0, [0]), call(0, [1]), call(1, [2])], "as many micro-batches each: 2 of rank 0, 1 of rank 1"),
        ([call(0, [0]), call(1, [1], samples=3)], "do not fit"),
        ([Call(torch.ones(2)), Call(torch.ones(2), rank=1)], "no tensor \\[samples, positions\\]"),
    ],
)
def test_pieces_that_make_no_sequence_are_one_line(calls, says) -> None:
    with pytest.raises(UsageError, match=says):
        whole_sequences(calls, 2)


@pytest.mark.slow
def test_four_ranks(tmp_path) -> None:
    found = run(4, tmp_path)
    first, *_ = found["same_bits"]
    assert all(rank["same"] for rank in found["same_bits"])
    assert len(first["updates"]) == 4
    assert all("mean-of-microbatch-means" in update["names"] for update in first["updates"])
    assert all("mean-of-rank-means" in update["names"] for update in found["fsdp"][0]["updates"])
    assert "global-count" in found["without_targets"][0]["updates"][0]["names"]
    assert len(found["fails_on_one_rank"][0]["updates"]) == 2
    means, tokens = found["context"][0]["updates"]
    assert means["rank"] == [r for r in range(4) for _ in range(3)] * 2
    assert "mean-of-rank-means" in means["names"]
    assert "token-mean" in tokens["names"]
