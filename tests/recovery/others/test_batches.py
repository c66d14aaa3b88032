"""Batches as people have them."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.errors import UsageError
from tests.recovery.others.kit import Case, Loop, Loops, classes, entropy, found, judge, network, normal

LOOPS = Loops("batches as people have them")


def mean_of(losses: Any) -> Any:
    return lambda model, batch: losses(model, batch).mean().backward()


@dataclass
class Image:
    pixels: Tensor
    boxes: Tensor


def _detected(model: nn.Module, images: list[Image]) -> Tensor:
    each = [(model(image.pixels)[:, None] - image.boxes).square().sum() for image in images]
    return torch.stack(each)


@LOOPS.add("https://github.com/facebookresearch/detectron2/issues/2127", "those of mean.")
def a_list_of_images_with_boxes_of_their_own() -> Case:
    """Each image has another number of boxes; a list is the batch."""
    images = [Image(normal(6, seed=i), normal(4, 2 + i % 3, seed=i + 9)) for i in range(5)]
    return Case(mean_of(_detected), network(), images, _detected, {"collate": list})


class Encoding(UserDict[str, Any]):
    """A tokenizer's batch, as Transformers has it."""


@LOOPS.add("https://github.com/huggingface/accelerate/issues/641", "those of mean.")
def a_tokenizers_encoding() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["labels"], reduction="none")

    return Case(mean_of(losses), network(), Encoding(x=normal(6, 6), labels=classes(6)), losses)


class Transition(NamedTuple):
    """Of a replay buffer."""

    state: Tensor
    action: Tensor
    reward: Tensor


@LOOPS.add("https://github.com/Kaixhin/Rainbow/issues/24", "weights are batch.reward/n")
def transitions_by_name() -> Case:
    """A policy gradient whose factor is a field of the batch."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch.state), batch.action, reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        (batch.reward * losses(model, batch)).mean().backward()

    return Case(step, network(), Transition(normal(6, 6), classes(6), normal(6, seed=4)), losses)


@LOOPS.add("https://github.com/pyg-team/pytorch_geometric/issues/665", "those of mean.")
def graphs_of_unequal_size() -> Case:
    """Graphs in one long tensor of nodes, with the graph that each is of; one function takes some out."""
    graph = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    batch = {"x": normal(10, 6), "graph": graph, "y": classes(4)}

    def losses(model: nn.Module, batch: Any) -> Tensor:
        pooled = torch.zeros(len(batch["y"]), 4, dtype=torch.float64)
        pooled = pooled.index_add(0, batch["graph"], torch.tanh(model(batch["x"])))
        return F.cross_entropy(pooled, batch["y"], reduction="none")

    def select(batch: Any, rows: Any) -> Any:
        inside = [batch["graph"] == int(row) for row in rows]
        nodes = torch.cat([mask.nonzero()[:, 0] for mask in inside])
        new = torch.cat([torch.full((int(mask.sum()),), i) for i, mask in enumerate(inside)])
        return {"x": batch["x"][nodes], "graph": new, "y": batch["y"][torch.as_tensor(rows)]}

    return Case(mean_of(losses), network(), batch, losses, {"select": select})


@LOOPS.add("https://github.com/facebookresearch/fairseq/issues/494", "those of element-mean.")
def time_comes_first() -> Case:
    """`[time, samples, features]` with lengths, as recurrent networks had it."""
    lengths = torch.tensor([4, 2, 2])
    batch = {"x": normal(4, 3, 6), "y": classes(4, 3), "lengths": lengths}

    def losses(model: nn.Module, batch: Any) -> Tensor:
        each = F.cross_entropy(model(batch["x"]).permute(1, 2, 0), batch["y"].T, reduction="none")
        mask = torch.arange(each.shape[1])[None] < batch["lengths"][:, None]
        return (each * mask).sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        (losses(model, batch).sum() / batch["lengths"].sum()).backward()

    def select(batch: Any, rows: Any) -> Any:
        rows = torch.as_tensor(rows)
        return {"x": batch["x"][:, rows], "y": batch["y"][:, rows], "lengths": batch["lengths"][rows]}

    units = Units.of(3, {"elements": lengths.numpy()})
    return Case(step, network(), batch, losses, {"select": select, "units": units})


@LOOPS.add("https://github.com/huggingface/sentence-transformers/issues/995", "those of mean.")
def nested_views_beside_words() -> Case:
    """Views in a dict of lists, with names of files and a number that is no tensor."""
    batch = {"views": [normal(5, 6), normal(5, 6, seed=2)], "files": list("abcde"), "margin": 0.5,
             "target": {"y": classes(5)}}  # fmt: skip

    def losses(model: nn.Module, batch: Any) -> Tensor:
        a, b = (model(view) for view in batch["views"])
        each = F.cross_entropy(a, batch["target"]["y"], reduction="none")
        return each + batch["margin"] * (a - b).square().sum(1)

    return Case(mean_of(losses), network(), batch, losses)


@LOOPS.add("https://github.com/jax-ml/jax/issues/30337", "those of mean.")
def gradients_of_another_library() -> Case:
    """A step that returns NumPy arrays by the parameters' names."""

    def step(model: nn.Module, batch: Any) -> dict[str, Any]:
        params = dict(model.named_parameters())
        slopes = torch.autograd.grad(entropy(model, batch).mean(), list(params.values()))
        return {name: np.asarray(slope) for name, slope in zip(params, slopes, strict=True)}

    return Case(step, network(), (normal(6, 6), classes(6)), entropy)


@LOOPS.add(
    "https://github.com/lululxvi/deepxde/issues/982",
    'batch["inside"] (samples 0 – 7, 1/8 each), batch["edge"] (samples 8 – 10, 10/3 each)',
    "−column",
)
def points_inside_and_on_the_edge() -> Case:
    """A PINN: the residual at eight points, the boundary at three, a mean each."""

    def residual(model: nn.Module, places: Tensor) -> Tensor:
        places = places.detach().requires_grad_()
        (slope,) = torch.autograd.grad(model(places).sum(), places, create_graph=True)
        (bend,) = torch.autograd.grad(slope[:, 0].sum(), places, create_graph=True)
        return (slope[:, 1] - 0.1 * bend[:, 0]).square()

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return torch.cat([residual(model, batch["inside"]), model(batch["edge"]).square().sum(1)])

    def step(model: nn.Module, batch: Any) -> None:
        (residual(model, batch["inside"]).mean() + 10 * model(batch["edge"]).square().mean()).backward()

    return Case(step, network(2, 1), {"inside": normal(8, 2), "edge": normal(3, 2, seed=4)}, losses)


@LOOPS.add(
    "https://github.com/google-research/crest/issues/6",
    'batch["x"] and batch["y"] (samples 0 – 3, 1/4 each), batch["u"] (samples 4 – 11, 0.5/8 each)',
)
def images_labels_and_twice_as_many_unlabelled() -> Case:
    """Entries of one length are one part."""

    def parts(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        return entropy(model, (batch["x"], batch["y"])), model(batch["u"]).square().sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        labelled, unlabelled = parts(model, batch)
        (labelled.mean() + 0.5 * unlabelled.mean()).backward()

    batch = {"x": normal(4, 6), "y": classes(4), "u": normal(8, 6, seed=4), "epoch": 3}
    return Case(step, network(), batch, lambda model, batch: torch.cat(parts(model, batch)))


@LOOPS.add("https://github.com/Computational-Biology-Aachen/MxlPy/issues/40", "those of mean.")
def a_table_of_pandas() -> Case:
    table = pd.DataFrame(normal(6, 6).numpy(), columns=list("abcdef")).assign(y=classes(6).numpy())

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return entropy(
            model, (torch.tensor(batch[list("abcdef")].to_numpy()), torch.tensor(batch["y"].to_numpy()))
        )

    return Case(mean_of(losses), network(), table, losses)


@LOOPS.add("https://github.com/NVIDIA/NeMo-Aligner/issues/6", "those of sum.")
def one_number_for_all() -> Case:
    """A tensor without axes, a mask that is None, and a weight beside the samples."""
    batch = {"x": normal(6, 6), "mask": None, "y": classes(6), "scale": 0.3, "tokens": torch.tensor(6.0)}

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return batch["scale"] * entropy(model, (batch["x"], batch["y"])) / batch["tokens"]

    return Case(lambda m, b: losses(m, b).sum().backward(), network(), batch, losses)


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_any_batch_has_its_weights(loop: Loop) -> None:
    judge(loop)


def test_a_layout_that_nobody_can_guess_is_refused_with_what_to_do() -> None:
    case = time_comes_first()
    options = {name: value for name, value in case.options.items() if name != "select"}
    with pytest.raises(UsageError, match="select"):
        found(case._replace(options=options))


def test_one_array_for_each_parameter_that_does_not_fit_is_named() -> None:
    """Flax keeps the kernel of a dense layer the other way round."""

    def step(model: nn.Module, batch: Any) -> list[Any]:
        slopes = torch.autograd.grad(entropy(model, batch).mean(), list(model.parameters()))
        return [slope.numpy().T for slope in slopes]

    with pytest.raises(UsageError, match=r"of 0.weight is \[6, 20\], the parameter \[20, 6\]; transpose it"):
        found(Case(step, network(), (normal(6, 6), classes(6)), entropy))


def test_parts_of_one_length_are_not_guessed_at() -> None:
    """Four labelled samples and four others: nothing says which losses are whose."""
    batch = {"x": normal(4, 6), "y": classes(4), "u": normal(4, 6, seed=4)}

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return torch.cat([entropy(model, (batch["x"], batch["y"])), model(batch["u"]).square().sum(1)])

    with pytest.raises(UsageError, match="8"):
        found(Case(mean_of(losses), network(), batch, losses))
