"""Updates of models that are not small: no gradients of all units are formed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import suite
from suite.recovery import many_units, recorded
from tests.watch.runs import Language, accumulate, batches, losses, sentences

VALID = [6, 2, 3, 4]


class Wide(Language):
    """A language model with so many parameters that its tokens' gradients are too many numbers to form."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__(width=96)
        self.hidden, self.dropout = nn.Linear(96, 96), nn.Dropout(dropout)
        self.head = nn.Linear(96, 600)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **rest: object) -> dict[str, Tensor]:
        steps = torch.arange(1, input_ids.shape[1] + 1)[:, None]
        inside = torch.tanh(self.hidden(self.dropout(self.embed(input_ids))).cumsum(1) / steps)
        scores = self.head(inside)
        found = {"logits": scores}
        if labels is not None:
            found["loss"] = nn.functional.cross_entropy(
                scores[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100
            )
        return found


@pytest.fixture
def _none_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    def formed(*_: object, **__: object) -> None:
        raise AssertionError("gradients of all units were formed")

    monkeypatch.setattr(recorded, "_unit_gradients", formed)


def audited(model: Wide, **options: object) -> suite.watch.AuditedUpdate:
    clip = options.pop("clip", None)
    with suite.watch(model, suite.losses.causal_lm, **options) as audit:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in sentences((7, 3), (4, 5)):
            (model(**batch)["loss"] / 2).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    assert not audit.failures
    return audit.updates[0]


@pytest.mark.usefixtures("_none_formed")
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("clip", [None, 0.01])
def test_tokens_weights_are_solved_on_few_parameters_and_proven_on_all(dropout, clip) -> None:
    torch.manual_seed(0)
    update = audited(Wide(dropout), clip=clip)
    found = update.beneath or update
    assert found.solved_on
    valid = update.units.elements == 1
    np.testing.assert_allclose(found.weights[valid], [1 / 16] * 8 + [1 / 14] * 7, rtol=1e-3)
    assert update.computes("mean-of-microbatch-means")
    assert update.residual < 1e-5
    if clip is not None:
        assert update.norm == pytest.approx(clip, rel=1e-4)
        np.testing.assert_allclose(update.weights[valid], update.factor * found.weights[valid])


@pytest.mark.usefixtures("_none_formed")
def test_samples_weights_are_solved_on_few_parameters_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 400), nn.Tanh(), nn.Linear(400, 600), nn.Tanh(), nn.Linear(600, 3))
    with suite.watch(model, losses) as audit:
        accumulate(
            model, audit.see(batches(3, 2, dtype=torch.float32)),
            torch.optim.SGD(model.parameters(), lr=0.1), 2,
        )  # fmt: skip
    (update,) = audit.updates
    assert update.solved_on
    np.testing.assert_allclose(update.weights, [1 / 6] * 3 + [1 / 4] * 2, rtol=1e-3)


@pytest.mark.usefixtures("_none_formed")
def test_tokens_that_are_too_many_are_audited_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_units, "MOST_UNITS", 6)
    update = audited(Wide().double())
    assert update.within == "sample"
    valid = update.units.elements == 1
    np.testing.assert_allclose(update.weights[valid], [1 / 16] * 8 + [1 / 14] * 7, rtol=1e-9)
