"""Frameworks' words: each formula against a literal loop, and what is said of where it was read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.algebra.units import Units
from suite.conventions import conventions
from suite.equivalence import Sizes, scale_between
from suite.errors import UsageError
from suite.frameworks import convention_of, words

FORMULAS = [word.name for word in words if word.meaning is not None]
LONGEST = 9
Ranks = list[list[np.ndarray]]
"""By rank, by micro-batch: the lengths of the sequences."""


def mean_of_means(ranks: Ranks) -> Iterator[np.ndarray]:
    for microbatches in ranks:
        for lengths in microbatches:
            yield np.full(len(lengths), 1 / lengths.sum() / len(microbatches) / len(ranks))


def tokens_of_all(ranks: Ranks) -> Iterator[np.ndarray]:
    total = sum(lengths.sum() for microbatches in ranks for lengths in microbatches)
    for microbatches in ranks:
        yield from (np.full(len(lengths), 1 / total) for lengths in microbatches)


def sequences_of_all(ranks: Ranks) -> Iterator[np.ndarray]:
    count = sum(len(lengths) for microbatches in ranks for lengths in microbatches)
    for microbatches in ranks:
        yield from (np.full(len(lengths), 1 / count) for lengths in microbatches)


def by_microbatch(weights: Callable[[np.ndarray], np.ndarray], *, over_ranks: bool = True) -> Callable:
    """What is worked out in each micro-batch, the mean over micro-batches, the mean or sum over ranks."""

    def loop(ranks: Ranks) -> Iterator[np.ndarray]:
        for microbatches in ranks:
            for lengths in microbatches:
                yield weights(lengths) / len(microbatches) / (len(ranks) if over_ranks else 1)

    return loop


def by_rank(weights: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """What is worked out on the whole batch of a rank, then the mean over ranks."""

    def loop(ranks: Ranks) -> Iterator[np.ndarray]:
        for microbatches in ranks:
            yield weights(np.concatenate(microbatches)) / len(ranks)

    return loop


def shares(ranks: Ranks) -> Iterator[np.ndarray]:
    for microbatches in ranks:
        of_rank = sum(map(len, microbatches))
        for lengths in microbatches:
            yield np.full(len(lengths), len(lengths) / of_rank / lengths.sum() / len(ranks))


def summed(weights: Callable[[np.ndarray], np.ndarray], *, over_ranks: bool) -> Callable:
    def loop(ranks: Ranks) -> Iterator[np.ndarray]:
        for microbatches in ranks:
            yield from (weights(lengths) / (len(ranks) if over_ranks else 1) for lengths in microbatches)

    return loop


def token_mean(lengths: np.ndarray) -> np.ndarray:
    return np.full(len(lengths), 1 / lengths.sum())


def sequence_means(lengths: np.ndarray) -> np.ndarray:
    return 1 / lengths / len(lengths)


def constant(lengths: np.ndarray) -> np.ndarray:
    return np.full(len(lengths), 1 / len(lengths) / LONGEST)


def mean(lengths: np.ndarray) -> np.ndarray:
    return np.full(len(lengths), 1 / len(lengths))


LITERAL: dict[str, Callable[[Ranks], Iterator[np.ndarray]]] = {
    "1": lambda ranks: (np.ones(len(lengths)) for each in ranks for lengths in each),
    "1/V": tokens_of_all,
    "1/n": sequences_of_all,
    "1/(n·V_i)": lambda ranks: map(
        np.multiply, sequences_of_all(ranks), (1 / lengths for each in ranks for lengths in each)
    ),
    "1/(n·Lmax)": lambda ranks: (one / LONGEST for one in sequences_of_all(ranks)),
    "1/(K·R·V_kr)": mean_of_means,
    "1/(W·R·V_kr)": mean_of_means,  # in a full window
    "1/(K·V_kr)": by_microbatch(token_mean, over_ranks=False),
    "1/(K·R·n_kr·V_i)": by_microbatch(sequence_means),
    "1/(K·R·n_kr·Lmax)": by_microbatch(constant),
    "1/(K·R·n_kr)": by_microbatch(mean),
    "1/(R·V_kr)": summed(token_mean, over_ranks=True),
    "1/V_kr": summed(token_mean, over_ranks=False),
    "1/(R·V_r)": by_rank(token_mean),
    "1/(R·n_r·Lmax)": by_rank(constant),
    "1/(R·n_r·T)": by_rank(constant),  # padded to the longest
    "n_kr/(n_r·R·V_kr)": shares,
    "n_kr/V_kr": summed(lambda lengths: len(lengths) * token_mean(lengths), over_ranks=False),
    "1/(K·V_k)": by_microbatch(token_mean),  # on one rank
    "1/V_k": summed(token_mean, over_ranks=False),  # on one rank
}
"""By the formula: the weight of each sequence's tokens, written as the code does it."""

ONE_RANK = ("1/(K·V_k)", "1/V_k")
LENGTHS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=3).map(np.array)


@st.composite
def batches(draw: st.DrawFn, *, ranks: int = 2) -> Ranks:
    """A full window on each rank."""
    count = draw(st.integers(1, 3))
    return [[draw(LENGTHS) for _ in range(count)] for _ in range(draw(st.integers(1, ranks)))]


def table(ranks: Ranks) -> Units:
    """The units table of such a batch, a sequence a unit."""
    cells = [(r, k, m) for r, each in enumerate(ranks) for k, lengths in enumerate(each) for m in lengths]
    rank, microbatch, lengths = map(np.array, zip(*cells, strict=True))
    return Units.of(
        len(cells),
        {"rank": rank, "microbatch": microbatch, "elements": lengths, "positions": LONGEST},
        window=len(ranks[0]),
        world_size=len(ranks),
        max_elements=LONGEST,
    )


def test_a_made_up_formula_is_asked_for_its_loop() -> None:
    formulas = {str(word.meaning) for word in words if word.meaning is not None}
    written = {str(conventions_formula(text)) for text in LITERAL}
    assert formulas == written, "write the loop of a new formula into LITERAL; delete one that no word has"


def conventions_formula(text: str):
    return type(words["trl:grpo"].meaning).parse(text)


@pytest.mark.parametrize("text", LITERAL)
@given(data=st.data())
def test_a_formula_is_what_the_literal_loop_weighs(text: str, data: st.DataObject) -> None:
    formula = conventions_formula(text)
    ranks = data.draw(batches(ranks=1 if text in ONE_RANK else 3))
    expected = np.concatenate(list(LITERAL[text](ranks)))
    for word in words:
        if word.meaning == formula:
            np.testing.assert_allclose(word.convention.column(table(ranks)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_on_one_rank_in_one_micro_batch_a_word_is_a_registered_convention(name: str) -> None:
    lengths = [5, 1, 3, LONGEST]
    units = Units.of(len(lengths), {"elements": lengths, "positions": LONGEST}, max_elements=LONGEST)
    word = words[name]
    found = word.convention.column(units)
    np.testing.assert_allclose(found, conventions[word.unsplit].column(units), rtol=1e-12)


@pytest.mark.parametrize("word", list(words), ids=lambda word: word.name)
def test_a_word_says_where_it_is_read(word) -> None:
    card = word.card()
    assert re.fullmatch(r"[a-z0-9]+:[\w-]+", word.name)
    assert word.summary.endswith(".")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+@(?:[0-9a-f]{7}|v?\d+\.\d+\.\d+), \S+\.py, .+", card["source"])
    assert word.typed
    assert word.source.version


def test_a_word_that_was_run_is_run_by_a_test() -> None:
    here = Path(__file__).parents[1]
    files = [*(here / "frameworks").glob("test_*.py"), here / "conventions" / "test_frameworks.py"]
    tests = "".join(path.read_text("utf-8") for path in files if path.name != Path(__file__).name)
    assert [w.name for w in words if w.known == "run" and f'"{w.name}"' not in tests] == []
    assert [w.name for w in words if w.known == "read" and f'"{w.name}"' in tests] == []


PACKAGES = {
    "lightning": ["pytorch-lightning"],
    "megatron": ["megatron-core"],
    "olmo": ["ai2-olmo"],
    "trainer": ["transformers"],
    "ultralytics": ["ultralytics", "yolov5"],
}
"""What frameworks are called on the package index, where that is another name."""


def test_the_version_that_was_run_is_the_one_that_the_frameworks_environment_installs() -> None:
    pinned = {*(Path(__file__).parents[2] / "constraints.txt").read_text("utf-8").splitlines()}
    pinned.add("verl==0.7.1")  # tox.ini has it beside the newest
    for one in words:
        if one.known == "run":
            packages = PACKAGES.get(one.framework, [one.framework])
            assert pinned & {f"{package}=={one.source.version}" for package in packages}, one.name


def test_frameworks_that_people_train_with_have_words() -> None:
    trained_with = (
        "accelerate axolotl deepspeed detectron2 fairseq horovod keras lightning megatron mmdet nanogpt olmo "
        "openrlhf optax torch torchtitan torchtune trainer trl ultralytics verl"
    )
    assert {word.framework for word in words} == {*trained_with.split()}
    losses = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo")
    of_grpo = {f"trl:{name}" for name in losses}
    of_verl = {f"verl:{name}" for name in ["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"]}
    assert {*of_grpo, *of_verl, "verl:seq-mean-token-sum-norm"} <= {word.name for word in words}


def test_a_penalty_of_the_users_own_is_counted_as_the_data_are() -> None:
    sizes = Sizes(12, microbatches=3, ranks=2)
    counted = {"horovod:Sum": 6, "horovod:Average": 3, "deepspeed:sum": 2, "accelerate:accumulate": 1}
    for name, times in counted.items():
        assert convention_of(name).column(sizes.units(regulariser=True))[-1] == times
        assert scale_between("element-mean", name, sizes).penalty == 1  # it goes with the data


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("trl:GRPO", "did you mean 'trl:grpo'"),
        ("TRL:grpo", "did you mean 'trl:grpo'"),
        ("grpo", "did you mean 'trl:grpo'"),
        ("verl:token_mean", "did you mean 'verl:token-mean'"),
        ("seq-mean-token-sum", "did you mean 'verl:seq-mean-token-sum'"),
        ("ver:token-mean", "no framework is named 'ver': did you mean 'verl'"),
        ("abc:token-mean", "no framework is named 'abc': there are [0-9]+; `gradsuite list frameworks`"),
        ("keras:mirrored", "there are: keras:gradient_accumulation_steps, keras:strategy"),
        (
            "openrlhf",
            "'openrlhf' is a framework and no word of one: choose openrlhf:token, openrlhf:sequence",
        ),
        ("TRL:", "'TRL:' is a framework and no word of one: choose trl:grpo, "),
        (":grpo", "no framework is named ''"),
        ("token_mean", "did you mean 'token-mean'"),
        ("Sum", "did you mean 'sum'"),
        ("fault:never_zeroed", "did you mean 'fault:never-zeroed'"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        convention_of(name)
    assert "\n" not in str(error.value)
