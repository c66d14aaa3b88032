"""The recipes: what each framework's own training step weighs its samples with."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKENS = np.repeat([7, 18, 23, 28], [7, 18, 23, 28])  # of the line that each token is in
SIX, SEVEN = np.ones(6), np.ones(7)
UNEVEN = np.array([1, 1, 1, 1, 1, 1, 2]) / 8
WEIGHT = np.array([1, 5, 0, 0.5, 2, 1, 3])

# Frameworks warn of what they or torch do themselves; none of it is about the recipes.
pytestmark = [
    # transformers reads its own former name of activation checkpointing.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # TRL switches checkpointing on by the name that transformers had for it, which the recipe switches off.
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
    # Opacus hooks modules whose inputs need no gradient, and torch warns of each.
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
    # Lightning asks torch's pytrees in a way that torch deprecates.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    # Keras asks torch for numpy arrays in a way that numpy 2.4 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes import each other as scripts do."""
    monkeypatch.syspath_prepend(EXAMPLES)


def imported(name: str) -> ModuleType:
    package = import_module("frameworks").RECIPES[name]
    try:
        version(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed: the tox environment `frameworks` has it")
    if name == "keras_fit" and import_module("keras").backend.backend() != "torch":
        pytest.skip("this recipe runs Keras on torch: KERAS_BACKEND=torch")
    if name == "data_parallel" and not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    return import_module(name)


# By recipe and row: the convention at scale 1 (None where none is registered), and the weights.
FOUND = {
    "plain_loop": [
        ("window-exact", SEVEN / 7),
        ("mean-of-microbatch-means", UNEVEN),
        ("sum-of-microbatch-means", 4 * UNEVEN),
        ("fault:divided-twice", UNEVEN / 4),
        ("fault:clipped-inside", None),
        ("fault:never-zeroed", np.arange(7, 0, -1) / 7),
        ("fault:kept-by-reference", np.eye(7)[6]),
    ],
    "watched_loop": [
        ("mean-of-microbatch-means", UNEVEN),
        ("partial-window-over-full-k", np.array([1, 1, 2]) / 8),
    ],
    "watched_trainer": [("window-exact", None), ("mean-of-microbatch-means", None)],
    "trl_grpo": [
        *[("mean-of-sequence-means", None)] * 2,
        ("mean-of-microbatch-means", None),
        ("constant-normaliser", None),
        *[("token-mean", None)] * 3,
        ("sum-of-terms", None),
    ],
    "data_parallel": [
        ("mean-of-rank-means", np.repeat([1 / 4, 1 / 10], [2, 5])),
        ("half-sum", SEVEN / 2),
        ("global-count", SEVEN / 7),
    ],
    "accelerate_loop": [
        ("mean-of-microbatch-means", UNEVEN),
        ("partial-window-over-full-k", SIX / 8),
        ("fault:divided-twice", UNEVEN / 4),
        ("window-exact", SEVEN / 7),
    ],
    "huggingface_trainer": [
        ("window-exact", np.ones(76) / 76),
        ("window-exact", np.ones(48) / 48),
        ("mean-of-microbatch-means", 1 / TOKENS / 4),
        ("mean-of-microbatch-means", 1 / TOKENS[:48] / 3),
        ("sum-of-microbatch-means", 1 / TOKENS),
        (None, np.ones(76) / 80),
    ],
    "lightning_trainer": [("mean-of-microbatch-means", UNEVEN), ("partial-window-over-full-k", SIX / 8)],
    "keras_fit": [
        ("sum-over-batch-size", WEIGHT / 7),
        ("weighted-mean", WEIGHT / 12.5),
        ("mean-of-microbatch-means", UNEVEN),
        (None, 0 * SIX),
    ],
    "opacus_optimizer": [("expected-batch-size", SIX / 8), ("clip-each-unit", None), (None, None)],
}


@pytest.mark.parametrize("name", FOUND)
def test_frameworks_weigh_samples_as_their_sources_say(name) -> None:
    rows = imported(name).recipe()
    assert len(rows) == len(FOUND[name])
    for row, (convention, weights) in zip(rows, FOUND[name], strict=True):
        assert row.agrees, f"{row.done}:\n{row}"
        names = row.found.names if row.found.scale == 1 else ()
        assert convention in names if convention else not names
        if weights is not None:
            told = row.found.identifiable
            np.testing.assert_allclose(row.found.weights[told], weights, atol=1e-5 * weights.max())


def test_clipping_inside_the_accumulation_favours_late_micro_batches() -> None:
    loop = imported("plain_loop")
    row = next(row for row in loop.recipe() if row.done == "`clipped_inside`")
    early, middle, late = row.found.weights[[0, 4, 6]]
    assert early < middle < late / 2 < 1 / 8  # the last sample is alone in its micro-batch
    gradient = loop.sample_gradients(loop.model, loop.batch).T @ row.found.weights
    assert np.linalg.norm(gradient) == pytest.approx(loop.MAX_NORM, rel=1e-5)


def test_opacus_clips_and_its_noise_is_recognised() -> None:
    _, clipped, noisy = imported("opacus_optimizer").recipe()
    assert np.sum(np.isclose(clipped.found.weights, 1 / 6, rtol=1e-5)) == 3  # those up to the median
    assert clipped.found.weights.max() < 1 / 6 + 1e-5
    assert noisy.found.cause.name == "noise"
    assert not noisy.found.linear


def test_rows_that_are_not_as_told_say_so() -> None:
    right = imported("plain_loop").recipe()[0]
    for wrong in (
        replace(right, convention="sum"),
        replace(right, convention=None),
        replace(right, weights=right.weights * (1 + 1e-4)),
        replace(right, cause="noise"),
    ):
        assert not wrong.agrees
        assert "BUT IT IS NOT" in str(wrong)
    assert "BUT" not in str(right)


def test_the_table_has_a_line_for_each_row_and_only_frameworks_that_are_missing_are_skipped(
    monkeypatch,
) -> None:
    frameworks = import_module("frameworks")
    monkeypatch.setattr(frameworks, "RECIPES", {"plain_loop": "torch", "other": "no-such-framework"})
    rows, skipped = frameworks.run()
    assert skipped == ["other: no-such-framework is not installed"]
    lines = frameworks.table(rows).splitlines()
    assert len(lines) == 2 + len(FOUND["plain_loop"])
    assert "6× 0.125, 0.25" in lines[3]
    assert all(line.endswith("| yes       |") for line in lines[2:])


def test_a_partial_table_does_not_replace_the_whole_one(monkeypatch, tmp_path, capsys) -> None:
    frameworks = import_module("frameworks")
    monkeypatch.setattr(frameworks, "TABLE", tmp_path / "frameworks.md")
    monkeypatch.setattr(frameworks, "RECIPES", {"plain_loop": "torch", "other": "no-such-framework"})
    frameworks.main()
    assert not frameworks.TABLE.exists()
    assert "skipped other" in capsys.readouterr().out
    monkeypatch.setattr(frameworks, "RECIPES", {"plain_loop": "torch"})
    frameworks.main()
    assert "fault:divided-twice" in frameworks.TABLE.read_text(encoding="utf-8")


def test_a_recipe_runs_as_a_script_and_on_the_command_line() -> None:
    script = EXAMPLES / "plain_loop.py"
    for arguments in ([str(script)], ["-m", "suite", "recover", f"{script}:forgot_to_divide"]):
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=True
        )
        assert "sum-of-microbatch-means" in done.stdout
