"""Losses of MMDetection and YOLOv5, run on two ranks with two micro-batches or one, against their words."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conventions.agreement import ROUNDING, by_convention, distance, left_in, network, randn
from tests.frameworks.alone import class_without_its_imports, without_its_imports
from tests.frameworks.test_detection_run import doubles, yolo_criterion, yolo_inputs, yolo_problem

INPUTS = randn(6, 5)
POSITIVE = torch.tensor([[1, 0, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1]])
"""`[images, anchors]`"""
AIMS = randn(6, 4, 4, seed=2)
RANK, MICROBATCH = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
SINGLE = 2 * torch.finfo(torch.float32).eps
"""MMDetection adds that eps to counts, and to 1 where the division comes later."""


def entropies(logits: Tensor, positive: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, positive.double(), reduction="none")


def outputs(model: nn.Module, rows: Any) -> tuple[Tensor, Tensor]:
    """`[images, anchors]` logits, and `[images, anchors, 4]` boxes."""
    found = model(INPUTS[rows])
    return found[:, :4], found[:, 4:].reshape(-1, 4, 4)


def losses(model: nn.Module, batch: Tensor) -> Tensor:
    """`[images]` summed over the anchors of the class term, and over the positives of the box term."""
    logits, boxes = outputs(model, batch)
    away = (boxes - AIMS[batch]).abs().sum(2) * POSITIVE[batch]
    return (entropies(logits, POSITIVE[batch]) + away).sum(1)


def head(kind: str, path: str, methods: tuple[str, ...], total: float) -> Any:
    """A head of one level and one class whose anchors are matched, where all ranks have `total` positives."""
    reduced = without_its_imports("mmdet", "models/losses/utils.py", "weight_reduce_loss")
    known = {
        "multi_apply": without_its_imports("mmdet", "models/utils/misc.py", "multi_apply", partial=partial),
        "images_to_levels": lambda targets, _: [torch.stack(targets)],
        "cat_boxes": torch.cat,
        "reduce_mean": lambda own: torch.full_like(own, total / 2),
    }
    found = class_without_its_imports("mmdet", f"models/dense_heads/{path}", kind, methods, **known)()
    anchors = torch.zeros(4, 4).double()
    found.__dict__ |= {
        "prior_generator": SimpleNamespace(num_levels=1),
        "get_anchors": lambda _, metas, **__: ([[anchors] for _ in metas], [[anchors] for _ in metas]),
        "bbox_coder": SimpleNamespace(encode_size=4, decode=lambda _, boxes: boxes),
        "_raw_positive_infos": {},
        "reg_decoded_bbox": False,
        "cls_out_channels": 1,
        "num_classes": 1,
        "centerness_target": lambda _, aims: torch.ones(len(aims)).double(),
        "loss_centerness": lambda found, *_, **__: 0 * found.sum(),
    }

    def class_loss(logits: Tensor, labels: Tensor, weights: Tensor, avg_factor: float) -> Tensor:
        return reduced(entropies(logits[:, 0], 1 - labels), weights, "mean", avg_factor)

    def box_loss(boxes: Tensor, aims: Tensor, weight: Tensor, avg_factor: float) -> Tensor:
        away = (boxes - aims).abs()
        return reduced(away if weight.ndim == 2 else away.sum(1), weight, "mean", avg_factor)

    found.loss_cls, found.loss_bbox = class_loss, box_loss
    return found


@pytest.mark.parametrize(
    ("word", "kind", "path"),
    [
        ("mmdet:avg_factor", "AnchorHead", "anchor_head.py"),
        ("mmdet:reduce_mean", "ATSSHead", "atss_head.py"),
    ],
)
def test_mmdetection_divides_by_the_positives_of_a_rank_or_of_all(word: str, kind: str, path: str) -> None:
    methods = ("get_targets", "loss_by_feat", "loss_by_feat_single")
    found = head(kind, path, methods, float(POSITIVE.sum()))

    def targets(anchors: Tensor, flags: Tensor, *rest: Any, **_: object) -> tuple[Any, ...]:
        row = rest[-3]  # of the image: what stands for its boxes
        positive = POSITIVE[row]
        weights = positive[:, None].expand(4, 4).double()
        matched = (1 - positive, torch.ones(4).double(), AIMS[row], weights, None, None)
        result = SimpleNamespace(avg_factor=int(positive.sum()))
        return (*((anchors,) if kind == "ATSSHead" else ()), *matched, result)

    found._get_targets_single = targets
    gradients = []
    for r in range(2):
        model, rows = network(5, 20), np.flatnonzero(r == RANK)
        logits, boxes = outputs(model, rows)
        scores = [logits.reshape(-1, 1, 2, 2)]
        inputs = [scores, [boxes.transpose(1, 2).reshape(-1, 4, 2, 2)]]
        inputs += [[torch.zeros_like(scores[0])]] if kind == "ATSSHead" else []
        terms = found.loss_by_feat(*inputs, list(rows), [{}] * len(rows))
        sum(sum(term) for term in terms.values()).backward()
        gradients.append(left_in(model))
    columns = {"elements": POSITIVE.sum(1), "rank": RANK}
    said = by_convention(word, network(5, 20), torch.arange(6), losses, columns, world_size=2)
    assert distance(torch.stack(gradients).mean(0), said) < SINGLE


@pytest.mark.filterwarnings("ignore")  # of what packages import
def test_yolov5_multiplies_by_the_images_of_a_micro_batch() -> None:
    problem = yolo_problem()
    batch = tuple(tensor[:6] for tensor in problem.data)
    counts: list[float] = []

    def box_term(model: nn.Module, rows: Any) -> Tensor:
        micro = [tensor[rows] for tensor in batch]
        criterion = yolo_criterion(1, 0)
        counts.append(len(criterion.build_targets(*yolo_inputs(model, micro))[0][0]))
        return criterion(*yolo_inputs(model, micro))[0]

    def alone(model: nn.Module, images: Tensor) -> Tensor:
        """`[images]` of each image alone, times its own matches."""
        return torch.cat([box_term(model, [k]) * counts[-1] for k in images.tolist()])

    def started() -> nn.Module:
        torch.manual_seed(0)
        return problem.model().double()

    with doubles():
        step = 0.0
        for r in range(2):
            for k in range(2):
                model = started()
                box_term(model, np.flatnonzero((r == RANK) & (k == MICROBATCH))).sum().backward()
                step = step + left_in(model)  # the loss is multiplied by the ranks, whose mean is taken
        counts.clear()
        alone(started(), torch.arange(6))
        columns = {"elements": torch.tensor(counts), "rank": RANK, "microbatch": MICROBATCH}
        said = by_convention(
            "ultralytics:yolov5", started(), torch.arange(6), alone, columns, window=2, world_size=2
        )
    assert distance(step, said) < ROUNDING
