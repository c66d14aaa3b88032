"""Each block of Python in docs/ that is no tutorial is run, on what its page speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gradsuite
from suite.case import cases
from suite.equivalence.laws import LAWS
from tests.documents import BLOCK, ROOT

_TEXTS = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
_OF_FRAMEWORKS = "watch-examples.md"
"""Its blocks need what they stand around: `tests/frameworks/test_watch_pages.py` runs them."""
_PAGES = [path for path, text in _TEXTS.items() if "```python" in text and path.name != _OF_FRAMEWORKS]


class _Model(nn.Module):
    """A language model of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.embed(input_ids))


class _Trainer:
    """One update, of the mean over all tokens."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def train(self) -> None:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        tokens = torch.tensor([[1, 2, 3, 4], [2, 0, 1, 3]])
        labels = torch.tensor([[1, 2, 3, -100], [2, 0, 1, 3]])
        logits = self.model(input_ids=tokens, labels=labels)
        F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).backward()
        optimizer.step()


class _Plain(torch.optim.Optimizer):
    """An optimizer of one's own: w ← w − lr·(g + weight_decay·w)."""

    def __init__(self, params: Any, lr: float = 0.1, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                p -= group["lr"] * (p.grad + group["weight_decay"] * p)


def _names(page: str) -> dict[str, Any]:
    torch.manual_seed(0)
    if page == "watch.md":
        model: nn.Module = _Model()
        return {"model": model, "trainer": _Trainer(model)}

    def losses(model: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        losses(model, batch).mean().backward()

    batch = torch.randn(32, 64), torch.randint(3, (32,))
    model = nn.Linear(64, 3)
    step(model, batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {
        "model": model,
        "batch": batch,
        "losses": losses,
        "step": step,
        "window": [batch],
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "MyOptimizer": _Plain,
    }


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.stem)
def test_each_block_of_python_of_a_page_runs(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocks = [found["printed"] for found in BLOCK.finditer(_TEXTS[page]) if found["kind"] == "python"]
    assert blocks
    run = gradsuite.run
    monkeypatch.setattr("suite.running.run.run", lambda **given: run(**given, quick=True, engine="loop"))
    monkeypatch.chdir(tmp_path)
    names = _names(page.name) | {"__name__": page.stem}
    try:
        for block in blocks:
            exec(compile(block, page.name, "exec"), names)  # noqa: S102  the page is ours
    finally:
        for registry, name in ((cases, "my-regression"), (LAWS, "_Plain")):
            if name in registry:
                registry.remove(name)
