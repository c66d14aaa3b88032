"""Loops as people write them, and the formula that recovery gives for each."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.recovery import Recovery, recover

INNOCENT = ("mistake", "fault")


def mlp(inputs: int, outputs: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, outputs)).double()


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def said(found: Recovery) -> str:
    return str(found.formula)


def squares(model: nn.Module, batch) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def entropies(model: nn.Module, batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def pieces(batch, sizes):
    return zip(*(part.split(sizes) for part in batch), strict=True)


CLASSES = (randn(7, 5), torch.tensor([0, 1, 1, 2, 0, 2, 2]))
UNEVEN = [3, 2, 2]
WINDOW = Units.of(7, {"microbatch": np.repeat(range(3), UNEVEN)}, window=3)


# Padded sequences: one weight a token.


class Tagger(nn.Module):
    """Mixes positions, then tells each one's class."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.mix, self.out = nn.Embedding(11, 12), nn.Linear(12, 12), nn.Linear(12, 11)
        self.double()

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.into(ids)
        return self.out(torch.tanh(self.mix(hidden) + hidden.cumsum(1) / 4))


def text(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    ids = torch.randint(11, (len(lengths), 1 + max(lengths)), generator=torch.Generator().manual_seed(3))
    labels = ids[:, 1:].clone()
    for row, length in enumerate(lengths):
        labels[row, length:] = -100
    return {"ids": ids[:, :-1].contiguous(), "labels": labels}


def tokens(model: nn.Module, batch) -> Tensor:
    return F.cross_entropy(model(batch["ids"]).transpose(1, 2), batch["labels"], reduction="none")


def rows(batch: dict[str, Tensor], begin: int, end: int) -> dict[str, Tensor]:
    return {name: part[begin:end] for name, part in batch.items()}


def token_units(batch: dict[str, Tensor], **settings: object) -> Units:
    valid = (batch["labels"] != -100).double().numpy()
    groups = {name: settings.pop(name) for name in ("microbatch", "rank") if name in settings}
    parts = tuple(f"t{t}" for t in range(valid.shape[1]))
    return Units.of(len(valid), {"elements": valid, "positions": 1, **groups}, parts=parts, **settings)


RAGGED = text((4, 9, 6, 3))


# Nobody is accused of what is innocent.


def a_sum_of_squares(model, batch) -> None:
    squares(model, batch).sum().backward()


def a_mean_over_outputs(model, batch) -> None:
    F.mse_loss(model(batch[0]), batch[1]).backward()


def a_sum_of_huber_losses(model, batch) -> None:
    F.huber_loss(model(batch[0]), batch[1], reduction="sum").backward()


def a_mean_times_a_temperature(model, batch) -> None:
    (F.mse_loss(model(batch[0]), batch[1]) * 3**2).backward()


@pytest.mark.parametrize(
    ("step", "losses", "formula"),
    [
        (a_sum_of_squares, squares, "1"),
        (a_mean_over_outputs, squares, "1/(entries of batch[1])"),
        (
            a_sum_of_huber_losses,
            lambda m, b: F.huber_loss(m(b[0]), b[1], reduction="none").sum(1),
            "1",
        ),
        (a_mean_times_a_temperature, squares, "9/(entries of batch[1])"),
    ],
)
def test_a_plain_loop_over_wide_targets_is_suspected_of_nothing(step, losses, formula) -> None:
    found = recover(step, mlp(5, 13), (randn(6, 5), randn(6, 13, seed=2)), losses)
    assert (said(found), found.fault, found.suspects) == (formula, None, ())
    assert not any(word in str(found) for word in INNOCENT)


def test_two_terms_that_are_divided_by_the_same_pixels_are_suspected_of_nothing() -> None:
    """Reconstruction as a mean over pixels, divergence over n times the pixels: an old VAE example."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"body": mlp(7, 8), "mu": nn.Linear(8, 3), "out": nn.Linear(8, 20)}).double()

    def terms(model, pixels) -> tuple[Tensor, Tensor]:
        hidden = model["body"](pixels[:, :7])
        return (model["out"](hidden) - pixels).square(), model["mu"](hidden).square()

    def losses(model, pixels) -> Tensor:
        return torch.stack([term.sum(1) for term in terms(model, pixels)], 1)

    def step(model, pixels) -> None:
        reconstruction, divergence = terms(model, pixels)
        (reconstruction.mean() + divergence.sum() / pixels.numel()).backward()

    units = Units.of(5, {"elements": [[20, 3]] * 5}, parts=("reconstruction", "divergence"))
    found = recover(step, model, randn(5, 20), losses, units=units)
    assert said(found) == "1/(entries of batch)"
    assert not any(word in str(found) for word in INNOCENT)
    assert "The divisor is 100, the number of entries of batch." in str(found)


@pytest.mark.parametrize("reduction", ["micro-batch means", "window count", "sums of micro-batch means"])
@pytest.mark.parametrize("threshold", [0.3, 1e3])
def test_clipping_once_after_the_accumulation_is_right(reduction: str, threshold: float) -> None:
    def step(model, batch) -> None:
        optimizer = torch.optim.AdamW(model.parameters())
        valid = (batch["labels"] != -100).sum()
        for begin in (0, 2):
            losses = tokens(model, piece := rows(batch, begin, begin + 2)).sum()
            mine = (piece["labels"] != -100).sum()
            divisor = {"micro-batch means": 2 * mine, "window count": valid}.get(reduction, mine)
            (losses / divisor).backward()
        nn.utils.clip_grad_norm_(model.parameters(), threshold)
        optimizer.step()

    units = token_units(RAGGED, microbatch=[0, 0, 1, 1], window=2, max_norm=threshold)
    found = recover(step, Tagger(), RAGGED, tokens, units=units)
    assert found.fault is None
    assert "known mistake" not in str(found)
    shape = {"micro-batch means": "/(K·V_k)", "window count": "", "sums of micro-batch means": "V_k"}
    assert shape[reduction] in said(found)
    assert ("min(1, C/‖g‖)" in said(found)) == (threshold == 0.3)


# One count, and K or R once more.


def count_then_k(model, batch, factor: Callable[[int], float]) -> None:
    valid = (batch["labels"] != -100).sum()
    for a, b in ((0, 2), (2, 3), (3, 4)):
        (tokens(model, rows(batch, a, b)).sum() / valid * factor(3)).backward()


def averaged_ranks(model, batch, factor: float) -> list[Tensor]:
    """What DDP does to a loss over the tokens of all ranks: it averages the gradients of the ranks."""
    valid = (batch["labels"] != -100).sum()
    gradients = [
        torch.autograd.grad(tokens(model, rows(batch, a, b)).sum() / valid, list(model.parameters()))
        for a, b in ((0, 1), (1, 4))
    ]
    return [sum(parts) * factor for parts in zip(*gradients, strict=True)]


@pytest.mark.parametrize(
    ("step", "groups", "fault"),
    [
        (lambda m, b: count_then_k(m, b, lambda k: 1 / k), "microbatch", "fault:window-count-over-k"),
        (lambda m, b: count_then_k(m, b, lambda k: k), "microbatch", "fault:window-count-times-k"),
        (lambda m, b: averaged_ranks(m, b, 1 / 2), "rank", "fault:global-count-over-ranks"),
        (lambda m, b: averaged_ranks(m, b, 2), "rank", "fault:global-count-times-ranks"),
    ],
)
def test_one_count_and_then_k_or_r_once_more_is_a_known_mistake(step, groups, fault) -> None:
    settings = {
        "microbatch": {"microbatch": [0, 0, 1, 2], "window": 3},
        "rank": {"rank": [0, 1, 1, 1], "world_size": 2},
    }[groups]
    found = recover(step, Tagger(), RAGGED, tokens, units=token_units(RAGGED, **settings))
    assert found.fault.name == fault
    assert found.names == (fault,)
    assert {"V"} < set(found.formula.symbols)
    assert "A known mistake:" in str(found)


def test_samples_of_the_window_counted_and_then_k_once_more() -> None:
    def step(model, batch) -> None:
        for piece in pieces(batch, UNEVEN):
            (entropies(model, piece).sum() / 7 / 3).backward()

    found = recover(step, mlp(5, 3), CLASSES, entropies, units=WINDOW)
    assert found.fault.name == "fault:window-count-over-k"


@pytest.mark.parametrize(
    "step", [lambda m, b: count_then_k(m, b, lambda k: 1), lambda m, b: averaged_ranks(m, b, 1)]
)
def test_one_count_and_nothing_more_is_right(step) -> None:
    units = token_units(RAGGED, microbatch=[0, 0, 1, 2], window=3, rank=[0, 1, 1, 1], world_size=2)
    found = recover(step, Tagger(), RAGGED, tokens, units=units)
    assert (found.fault, said(found)) == (None, "1/V")


# Compositions.


WEIGHT = torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64)


def weighted_means_of_microbatches(model, batch) -> None:
    for x, y in pieces(batch, UNEVEN):
        (F.cross_entropy(model(x), y, weight=WEIGHT) / 3).backward()


def nobody_divided(model, batch) -> None:
    for piece in pieces(batch, UNEVEN):
        entropies(model, piece).mean().backward()


def expected_size_by_weight(model, batch) -> None:
    (WEIGHT[batch[1]] * entropies(model, batch)).sum().div(9).backward()


def batch_size_instead_of_weights(model, batch) -> None:
    (WEIGHT[batch[1]] * entropies(model, batch)).mean().backward()


@pytest.mark.parametrize(
    ("step", "formula"),
    [
        (weighted_means_of_microbatches, "w_u/(K·Σw_k)"),
        (nobody_divided, "1/n_k"),
        (expected_size_by_weight, "w_u/L"),
        (batch_size_instead_of_weights, "w_u/n"),
    ],
)
def test_weights_and_micro_batches_go_together(step, formula) -> None:
    columns = {"microbatch": np.repeat(range(3), UNEVEN), "weight": WEIGHT[CLASSES[1]].numpy()}
    units = Units.of(7, columns, window=3, expected_batch_size=9.0)
    found = recover(step, mlp(5, 3), CLASSES, entropies, units=units)
    assert said(found) == formula
    assert found.fault is None


def test_a_mean_by_length_that_is_divided_by_the_batch_size_again() -> None:
    lengths = torch.tensor([2, 5, 1, 3])
    batch = (randn(4, 5), torch.tensor([0, 2, 1, 1]), lengths)
    units = Units.of(4, {"elements": lengths.numpy()})

    def step(model, batch) -> None:
        ((entropies(model, batch) / batch[2]).mean() / len(batch[2])).backward()

    found = recover(step, mlp(5, 3), batch, entropies, units=units)
    assert said(found) == "1/(n²·m_i)"
    assert "1/n × mean-of-sample-means" in str(found)


def test_token_means_of_unequal_micro_batches_weighted_by_their_samples() -> None:
    def step(model, batch) -> None:
        for a, b in ((0, 1), (1, 4)):
            mine = rows(batch, a, b)
            (tokens(model, mine).sum() / (mine["labels"] != -100).sum() * ((b - a) / 4)).backward()

    units = token_units(RAGGED, microbatch=[0, 1, 1, 1], window=2)
    found = recover(step, Tagger(), RAGGED, tokens, units=units)
    assert said(found) == "n_k/(n·V_k)"
    shown = " ".join(str(found).split())
    assert "samples 0 t4 – 0 t8, 2 t6 – 2 t8, 3 t3 – 3 t8 no gradient padding" in shown
    assert "cannot tell" not in shown.partition("Residual")[2]


def test_sequence_means_averaged_on_ranks_of_unequal_size() -> None:
    def step(model, batch) -> list[Tensor]:
        gradients = []
        for a, b in ((0, 1), (1, 4)):
            mine = rows(batch, a, b)
            means = tokens(model, mine).sum(1) / (mine["labels"] != -100).sum(1)
            gradients.append(torch.autograd.grad(means.mean(), list(model.parameters())))
        return [sum(parts) / 2 for parts in zip(*gradients, strict=True)]

    units = token_units(RAGGED, rank=[0, 1, 1, 1], world_size=2)
    assert said(recover(step, Tagger(), RAGGED, tokens, units=units)) == "1/(R·V_i·n_r)"


def test_terms_without_a_formula_in_common_have_one_each() -> None:
    """Two optimizers, two backward passes: the actor's loss is a mean, the critic's a sum."""
    model = nn.ModuleDict({"actor": mlp(4, 1), "critic": mlp(4, 1, seed=5)})

    def losses(model, batch) -> Tensor:
        value = model["critic"](batch[0]).squeeze(1)
        return torch.stack([-batch[1] * model["actor"](batch[0]).squeeze(1), (batch[1] - value).square()], 1)

    def step(model, batch) -> None:
        losses(model, batch)[:, 0].mean().backward()
        losses(model, batch)[:, 1].sum().backward()

    units = Units.of(6, parts=("actor", "critic"))
    shown = str(recover(step, model, (randn(6, 4), randn(6, seed=9)), losses, units=units))
    assert "the weights are 1/n for actor; 1 for critic" in shown
    assert shown.splitlines()[-2:] == [
        "  samples 0 – 5 actor       0.166667  1/n",
        "  samples 0 – 5 critic             1",
    ]


def test_a_large_ragged_window_shows_its_own_digits_and_no_fraction_that_is_another_number() -> None:
    sizes = [50, 50, 12]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 10))
    batch = (torch.randn(112, 20), torch.randint(10, (112,)))

    def step(model, batch) -> None:
        for piece in pieces(batch, sizes):
            (entropies(model, piece).mean() / 3).backward()

    units = Units.of(112, {"microbatch": np.repeat(range(3), sizes)}, window=3)
    lines = str(recover(step, model, batch, entropies, units=units)).splitlines()
    assert lines[-2:] == [
        "  samples 0 – 99       0.00666667  1/(3·50)",
        "  samples 100 – 111     0.0277778  1/(3·12)",
    ]


# Divisors that are counted in the batch.


def divided_by(count: Callable[[object], object], losses=squares):
    def step(model, batch) -> None:
        (losses(model, batch).sum() / count(batch)).backward()

    return step


MASK = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0]]).double()
NINE = SimpleNamespace(x=randn(5, 4), y=randn(5, 4, seed=2))


def masked(model, batch) -> Tensor:
    return ((model(batch[0]) - batch[1]).square() * batch[2]).sum(1)


CLASSES_OF_BOXES = torch.tensor([[3, -1, 0, 2], [0, 1, -1, 2], [4, 4, 0, -1], [-1, 2, 0, 0], [5, 0, 1, 0]])
IGNORED = torch.tensor([[4, -100, 2], [1, 3, 2], [-100, 1, 1], [5, 5, 6], [-100, -100, 1]])


@pytest.mark.parametrize(
    ("count", "third", "divisor"),
    [
        (lambda b: b[2].sum(), MASK, "11, the number of non-zero entries of batch[2]"),
        (lambda b: b[2].sum(), MASK.bool(), "11, the number of True entries of batch[2]"),
        (
            lambda b: (b[2] > 0).sum(),
            CLASSES_OF_BOXES,
            "9, the number of positive entries of batch[2]",
        ),
        (lambda b: b[0].numel(), MASK, "20, the number of entries of batch[0] or of batch[1]"),
        (lambda b: b[2].sum(), torch.tensor([4, 1, 3, 3, 2]), "13, the sum of batch[2]"),
        (
            lambda b: len(b[2].unique()),
            torch.tensor([7, 7, 3, 3, 9]),
            "3, the number of distinct values of batch[2]",
        ),
        (lambda b: (b[2] != -100).sum(), IGNORED, "11, the number of entries other than -100 of batch[2]"),
        (lambda b: b[0].shape[1], MASK, "4, the size of axis 1 of batch[0]"),
    ],
)
def test_a_divisor_is_named_by_what_it_counts(count, third, divisor) -> None:
    found = recover(divided_by(count), mlp(4, 4), (NINE.x, NINE.y, third), squares)
    assert f"The divisor is {divisor}." in str(found)


def test_a_divisor_that_nothing_counts_is_a_constant_and_the_batch_size_is_n() -> None:
    batch = (NINE.x, NINE.y)
    constant = recover(divided_by(lambda b: 1024), mlp(4, 4), batch, squares)
    assert said(constant) == "1/1024"
    assert "The divisor 1024 is a constant: neither the batch nor the units table counts it." in str(constant)
    size = recover(divided_by(lambda b: len(b[0])), mlp(4, 4), batch, squares)
    assert "Formula: 1/n, n = 5." in str(size)


def test_masked_entries_are_divisors_of_other_batches_too() -> None:
    batch = {"action": NINE.y, "state": NINE.x, "is_pad": MASK == 0}

    def losses(model, batch) -> Tensor:
        error = (model(batch["state"]) - batch["action"]).square()
        return (error * ~batch["is_pad"]).sum(1)

    def step(model, batch) -> None:
        (losses(model, batch).sum() / (~batch["is_pad"]).sum()).backward()

    shown = str(recover(step, mlp(4, 4), batch, losses))
    assert 'The divisor is 11, the number of False entries of batch["is_pad"].' in shown


def test_only_losses_that_are_not_zero_are_averaged() -> None:
    def hinge(model, batch) -> Tensor:
        return F.relu(1 + batch[1] * model(batch[0]).squeeze(1))

    def step(model, batch) -> None:
        losses = hinge(model, batch)
        (losses.sum() / (losses > 0).sum()).backward()

    sides = torch.tensor([1.0, -60, 1, -60, 1, 1, -60]).double()
    model = mlp(5, 1)
    with torch.no_grad():
        model[2].bias.fill_(3.0)
    found = recover(step, model, (randn(7, 5), sides), hinge)
    assert found.silent == (1, 3, 6)
    assert "The divisor is 4, the number of losses that are not zero or the entries" in str(found)


def test_padding_is_inferred_from_units_without_a_gradient() -> None:
    batch = {"ids": RAGGED["ids"], "labels": RAGGED["labels"]}
    parts = tuple(map(str, range(9)))

    def step(model, batch) -> None:
        F.cross_entropy(model(batch["ids"]).transpose(1, 2), batch["labels"]).backward()

    found = recover(step, Tagger(), batch, tokens, units=Units.of(4, parts=parts))
    assert "The divisor is 22, the number of losses that are not zero or the entries other than" in str(found)


def test_lengths_in_the_batch_need_no_column() -> None:
    lengths = torch.tensor([2, 5, 1, 3])
    batch = (randn(4, 5), torch.tensor([0, 2, 1, 1]), lengths)
    found = recover(lambda m, b: (entropies(m, b) / b[2]).mean().backward(), mlp(5, 3), batch, entropies)
    assert said(found) == "1/(n·(sum of the sample in batch[2]))"


# What only the units table can say is asked for.


def test_runs_of_equal_share_ask_for_the_column_of_micro_batches() -> None:
    def step(model, batch) -> None:
        for piece in pieces(batch, UNEVEN):
            (entropies(model, piece).mean() / 3).backward()

    batch = (CLASSES[0], CLASSES[1])
    shown = str(recover(step, mlp(5, 3), batch, entropies))
    assert "Neighbours share equally, in runs of 3, 4 samples" not in shown
    assert "microbatch" in shown


def test_what_no_column_explains_asks_for_columns() -> None:
    odd = torch.tensor([0.31, 0.11, 0.07, 0.29, 0.53, 0.41, 0.19]).double()
    found = recover(lambda m, b: (odd * entropies(m, b)).sum().backward(), mlp(5, 3), CLASSES, entropies)
    assert found.formula is None
    assert (
        "The units table could say more: it has no column 'microbatch' (with window=), 'rank' (with "
        "world_size=), 'weight' or 'elements'."
    ) in str(found)


def test_several_formulas_are_told_with_the_batch_that_would_tell() -> None:
    units = Units.of(4, {"microbatch": [0, 1, 2, 3]}, window=4)
    batch = tuple(part[:4] for part in CLASSES)

    def step(model, batch) -> None:
        entropies(model, batch).mean().backward()

    found = recover(step, mlp(5, 3), batch, entropies, units=units)
    assert said(found) == "1/n"
    assert {"1/n", "1/K"} <= set(map(str, found.formulas))
    assert "a batch" in str(found)
    card = found.card()
    assert card["formula"] == "1/n"
    assert card["numbers"]["n"] == 4


def test_counts_that_are_the_same_here_are_named_together() -> None:
    labels, boxes = torch.tensor([2, 3, 1, 4, 1]), torch.tensor([3, 0, 5, 2, 1])
    step = divided_by(lambda batch: batch[3].sum())
    said = str(recover(step, mlp(4, 4), (NINE.x, NINE.y, labels, boxes), squares))
    assert "The divisor is 11, the sum of batch[2] or the sum of batch[3]." in said


def test_twice_the_mean_is_called_so_though_an_axis_has_half_as_many_entries_as_there_are_samples() -> None:
    torch.manual_seed(0)
    batch = (torch.randn(8, 4).double(), torch.randn(8, 1).double())
    found = recover(lambda m, b: (2 * squares(m, b).mean()).backward(), mlp(4, 1), batch, squares)
    assert str(found).startswith("8 samples: the weights are 2/n, 2 × mean.")
