"""Terms, masks and labels of a batch are named in the formulas, with the numbers that people write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.algebra.search import decimal
from suite.algebra.units import Units
from suite.recovery import recover
from suite.recovery.terms import MOST_TERMS, one_weight_each

N = 8


def network(inputs: int, outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, outputs))


def three(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    out = model(batch[0])
    entropy = -(out.softmax(1) * out.log_softmax(1)).sum(1)
    error = F.mse_loss(out, batch[2], reduction="none").sum(1)
    return torch.stack([F.cross_entropy(out, batch[1], reduction="none"), error, entropy], 1)


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ((1 / N, 0.05 / N, -0.01 / N), "1/n for part 0; 0.05/n for part 1; −0.01/n for part 2"),
        ((0.7315 / N, 1.381 / N, 0.3 / N), "0.7315/n for part 0; 1.381/n for part 1; 0.3/n for part 2"),
        ((1.5, 0.001, 1.0), "1.5 for part 0; 0.001 for part 1; 1 for part 2"),
        ((0.3 / N, 11.2 / N, 2 / N), "0.3/n for part 0; 11.2/n for part 1; 2/n for part 2"),
        ((1 / N, 0.123456, 1 / N), "1/n for part 0; 0.123456 for part 1; 1/n for part 2"),
    ],
)
def test_each_term_has_its_factor_in_the_digits_that_people_write(factors, says) -> None:
    def step(model, batch) -> None:
        (torch.tensor(factors, dtype=torch.float64) * three(model, batch)).sum().backward()

    batch = (torch.randn(N, 6).double(), torch.arange(N) % 5, torch.randn(N, 5).double())
    found = recover(step, network(6, 5).double(), batch, three)
    assert f"the weights are {says}," in str(found)


def with_soft_labels(n: int, classes: int) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    soft = torch.randn(n, classes).double().softmax(1)
    return torch.randn(n, 6).double(), torch.randint(classes, (n,)), soft


def hard_and_soft(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    out, hot = model(batch[0]), 4.0
    soft = F.kl_div((out / hot).log_softmax(1), batch[2], reduction="none").sum(1)
    return torch.stack([F.cross_entropy(out, batch[1], reduction="none"), soft], 1)


def weighed(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]):
    def step(model, batch) -> None:
        one, two = hard_and_soft(model, batch).unbind(1)
        (first(one) + second(two)).backward()

    return step


@pytest.mark.parametrize(
    ("n", "first", "second", "says"),
    [
        (
            16,
            lambda one: 0.1 * one.mean(),
            lambda two: 0.9 * 4.0**2 * two.mean(),
            [
                "the weights are 0.1/n for part 0; 0.9 for part 1,",
                "For part 0, this batch cannot tell it from 1/160 (160 is the number of entries of "
                "batch[2]); a batch in which the number of entries of batch[2] is not 10·n would.",
                "For part 1, this batch cannot tell it from 14.4/n; a batch in which n is not 16 would.",
            ],
        ),
        (
            5,
            lambda one: one.mean(),
            lambda two: 0.1 * two.sum(),
            [
                "the weights are 1/n for part 0; 1/(2·n) for part 1,",
                "For part 1, this batch cannot tell it from 0.1; a batch in which n is not 5 would.",
            ],
        ),
        (
            10,
            lambda one: one.mean(),
            lambda two: 2e-4 * two.sum(),
            ["cannot tell it from 0.0002; a batch in which n is not 10 would."],
        ),
        (
            8,
            lambda one: one.sum() / 80,
            lambda two: 0.25 * two.sum() / 80,
            [
                "0.1/n for part 0; 0.025/n for part 1,",
                "For part 0, this batch cannot tell it from 1/80 (80 is",
                "For part 1, this batch cannot tell it from 0.25/80 (80 is the number of entries of ",
            ],
        ),
        (7, lambda one: one.mean(), lambda two: 0.3 * two.mean(), ["1/n for part 0; 0.3/n for part 1,"]),
    ],
)
def test_a_weight_that_people_write_is_told_beside_a_count_that_is_worth_it(n, first, second, says) -> None:
    batch = with_soft_labels(n, 10)
    text = str(recover(weighed(first, second), network(6, 10).double(), batch, hard_and_soft))
    assert not [part for part in says if part not in text], text
    if n == 7:
        assert "cannot tell it" not in text


def test_a_mean_over_ten_outputs_may_be_a_tenth_of_the_mean() -> None:
    batch = (torch.randn(7, 6).double(), torch.randn(7, 10).double())

    def squares(model, batch) -> Tensor:
        return (model(batch[0]) - batch[1]).square().sum(1)

    text = str(
        recover(lambda m, b: F.mse_loss(m(b[0]), b[1]).backward(), network(6, 10).double(), batch, squares)
    )
    assert "The divisor is 70, the number of entries of batch[1]." in text
    assert "cannot tell it from 0.1/n; a batch in which the number of entries of batch[1] is not 10·n" in text


def test_a_number_of_the_batch_that_several_terms_have_is_told_once() -> None:
    torch.manual_seed(0)
    batch = (torch.randn(4, 6).double(), [{"boxes": torch.rand(k, 4).double()} for k in (2, 1, 3, 1)])

    def two(model, batch) -> Tensor:
        boxes = model(batch[0]).reshape(-1, 5, 4)
        apart = [b[: len(t["boxes"])] - t["boxes"] for b, t in zip(boxes, batch[1], strict=True)]
        return torch.stack([torch.stack([a.abs().sum(), a.square().sum()]) for a in apart])

    def step(model, batch) -> None:
        (two(model, batch).sum(0) @ torch.tensor([5.0, 2.0]).double() / 7).backward()

    text = str(recover(step, network(6, 20).double(), batch, two))
    assert "5/7 for part 0; 2/7 for part 1," in text
    assert 'The divisor for part 0 and part 1 is 7, the number of rows of batch[1][:]["boxes"].' in text


def test_a_number_is_not_taken_for_one_of_few_digits_by_chance() -> None:
    assert decimal(0.2999999, 0.3000002) is not None
    assert decimal(0.2, 0.41) is None
    assert decimal(0.30051, 0.30053) is None
    assert decimal(2.9999, 3.0001) is None  # a whole number is no weight of few digits


class Tagger(nn.Module):
    """A tag for each word."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.out = nn.Embedding(20, 48), nn.Linear(48, 5)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embedding(words) + self.embedding(words).cumsum(1)))


def sentences() -> dict[str, Tensor]:
    lengths = torch.tensor([7, 4, 2, 6, 5])
    mask = (torch.arange(7) < lengths[:, None]).float()
    words = (torch.arange(35).reshape(5, 7) % 19 + 1) * mask.long()
    return {"words": words, "tags": (words * 3) % 5, "mask": mask}


def of_words(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["words"]).transpose(1, 2), batch["tags"], reduction="none")


def over_words(losses: Tensor, mask: Tensor) -> Tensor:
    return (losses * mask).sum() / mask.sum()


def over_sentences(losses: Tensor, mask: Tensor) -> Tensor:
    return ((losses * mask).sum(1) / mask.sum(1)).mean()


def a_sum_per_sentence(losses: Tensor, mask: Tensor) -> Tensor:
    return (losses * mask).sum(1).mean()


@pytest.mark.parametrize(
    ("reduce", "says"),
    [
        (over_words, 'batch["mask"]/24'),
        (over_sentences, 'batch["mask"]/(n·(non-zero entries of the sample in batch["mask"]))'),
        (a_sum_per_sentence, 'batch["mask"]/n'),
    ],
)
def test_a_mask_that_the_units_table_does_not_know_is_named(reduce: Callable[..., Tensor], says: str) -> None:
    def step(model, batch) -> None:
        reduce(of_words(model, batch), batch["mask"].to(torch.get_default_dtype())).backward()

    found = recover(step, Tagger().double(), sentences(), of_words)
    assert f"the weights are {says}," in str(found)


def test_a_mask_is_divided_by_what_it_counts_rather_than_by_a_square_that_is_as_large() -> None:
    batch = sentences()
    batch = {name: tensor[[0, 2, 3, 4]] for name, tensor in batch.items()}
    batch["mask"][2:] *= torch.tensor([1.0, 1, 1, 1, 0, 0, 0])  # 7 + 2 + 4 + 4, and then one less
    batch["mask"][0, -1] = 0
    assert batch["mask"].sum() == 4**2

    def step(model, batch) -> None:
        over_words(of_words(model, batch), batch["mask"].double()).backward()

    found = recover(step, Tagger().double(), batch, of_words)
    assert 'the weights are batch["mask"]/16,' in str(found)


def test_ignored_labels_of_a_column_that_losses_do_not_ignore_are_named() -> None:
    labels = torch.tensor([0, 1, -1, 2, 1, -1, 0, 2])
    batch = (torch.randn(N, 6, dtype=torch.float64), labels)

    def losses(model, batch) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1].clamp(min=0), reduction="none")

    def step(model, batch) -> None:
        F.cross_entropy(model(batch[0]), batch[1], ignore_index=-1).backward()

    found = recover(step, network(6, 3).double(), batch, losses)
    assert "the weights are [batch[1] ≠ -1]/6," in str(found)
    assert "The divisor is 6, the number of entries other than -1 of batch[1]." in str(found)


def test_weights_by_how_often_a_label_is_there_are_named() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 0])
    batch = (torch.randn(9, 6, dtype=torch.float64), labels)

    def losses(model, batch) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def step(model, batch) -> None:
        balance = len(batch[1]) / (3 * torch.bincount(batch[1]).double())
        (losses(model, batch) * balance[batch[1]]).mean().backward()

    found = recover(step, network(6, 3).double(), batch, losses)
    assert "the weights are 1/(3·(samples with its value of batch[1]))," in str(found)


def test_rows_of_a_list_are_counted_over_all_its_items() -> None:
    torch.manual_seed(0)
    targets = [
        {"boxes": torch.rand(k, 4, dtype=torch.float64), "image": i} for i, k in enumerate((2, 1, 3, 1))
    ]
    batch = (torch.randn(4, 6, dtype=torch.float64), targets)

    def losses(model, batch) -> Tensor:
        boxes = model(batch[0]).reshape(-1, 5, 4)
        return torch.stack(
            [(b[: len(t["boxes"])] - t["boxes"]).abs().sum() for b, t in zip(boxes, batch[1], strict=True)]
        )

    def step(model, batch) -> None:
        (losses(model, batch).sum() / sum(len(target["boxes"]) for target in batch[1])).backward()

    found = recover(step, network(6, 20).double(), batch, losses)
    assert 'The divisor is 7, the number of rows of batch[1][:]["boxes"].' in str(found)


def test_tokens_are_no_terms_and_nothing_is_made_for_them() -> None:
    tokens = Units.of(2, parts=tuple(map(str, range(MOST_TERMS + 1))))
    assert one_weight_each(None, None, None, tokens) is None
