"""Losses of detectors, run with their own matching: torchvision, YOLOv5 as it is packaged, Ultralytics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cases.papers import problems
from suite.case import Problem
from suite.papers.library import papers
from suite.replication.gradient import gradient_complaints
from tests.conventions.agreement import ROUNDING, by_convention, distance, left_in, network, randn
from tests.frameworks.alone import package_or_skip, without_its_imports
from tests.replication.test_steps import step_of

ANCHORS = torch.tensor([[0.0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8]])


@contextmanager
def doubles() -> Iterator[None]:
    """What is made without a type is float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def logits_and_boxes(model: nn.Module, batch: problems.Triple) -> tuple[Tensor, Tensor]:
    """`[images, anchors]` and `[images, anchors, 4]`."""
    outputs = model(batch[0])
    return outputs[:, :4], outputs[:, 4:].reshape(-1, 4, 4)


def retinanet_losses(model: nn.Module, batch: problems.Triple) -> Tensor:
    """`[images, 2]` the focal loss of all anchors, and the distance of the boxes of those that match."""
    logits, boxes = logits_and_boxes(model, batch)
    positive, shift = batch[1].double(), batch[2] / 4  # in widths of an anchor
    right = torch.where(positive > 0, logits.sigmoid(), 1 - logits.sigmoid())
    focal = (0.75 - 0.5 * positive) * (1 - right) ** 2 * -right.log()
    aim = torch.stack([shift, shift, 0 * shift, 0 * shift], -1)
    away = (boxes - aim).abs().sum(-1) * positive
    return torch.stack([focal.sum(1), away.sum(1)], 1)


def retinanet(model: nn.Module, batch: problems.Triple) -> None:
    package_or_skip("torchvision")
    from torchvision.models.detection.retinanet import RetinaNetHead

    logits, boxes = logits_and_boxes(model, batch)
    anchors = [ANCHORS.double()] * len(logits)
    targets = [
        {"boxes": ANCHORS + shift[:, None], "labels": torch.zeros(4, dtype=torch.long)} for shift in batch[2]
    ]
    matched = [torch.where(positive > 0, torch.arange(4), -1) for positive in batch[1]]
    outputs = {"cls_logits": logits[..., None], "bbox_regression": boxes}
    head = RetinaNetHead(8, num_anchors=1, num_classes=1)
    sum(head.compute_loss(targets, outputs, anchors, matched).values()).backward()


def yolo_criterion(box: float, obj: float) -> Any:
    """YOLOv5's own, of one level and one class, with these gains."""
    metrics = "utils/metrics.py"
    known = {
        "smooth_BCE": without_its_imports("yolov5", "utils/loss.py", "smooth_BCE"),
        "bbox_iou": without_its_imports("yolov5", metrics, "bbox_iou", math=__import__("math")),
        "de_parallel": lambda model: model,
    }
    detect = SimpleNamespace(nl=1, na=1, nc=1, anchors=torch.ones(1, 1, 2), stride=torch.tensor([4.0]))
    gains = {"box": box, "obj": obj, "cls": 0.5, "cls_pw": 1.0, "obj_pw": 1.0, "fl_gamma": 0, "anchor_t": 4}
    model = SimpleNamespace(parameters=lambda: iter([torch.ones(1)]), hyp=gains, model=[detect])
    return without_its_imports("yolov5", "utils/loss.py", "ComputeLoss", **known)(model)


def yolo_inputs(model: nn.Module, batch: problems.Triple) -> tuple[list[Tensor], Tensor]:
    """The predictions of a grid of 2 × 2, and a box where a quarter of the digit has ink."""
    outputs = model(batch[0])
    predictions = torch.cat([outputs, torch.zeros_like(outputs[:, :4])], 1).reshape(-1, 1, 2, 2, 6)
    image, quarter = batch[1].nonzero().T
    centre = (torch.stack([quarter % 2, quarter // 2], 1) + 0.5 + batch[2][image, quarter, None] / 4) / 2
    size = torch.full_like(centre, 0.5)
    return [predictions], torch.cat([image[:, None], 0 * image[:, None], centre, size], 1)


def yolo_losses(model: nn.Module, batch: problems.Triple) -> Tensor:
    """`[images, 2]` of each image alone, times its own counts: the sums over cells and over matches."""
    found = []
    with doubles():
        for k in range(len(batch[0])):
            predictions, targets = yolo_inputs(model, [tensor[k : k + 1] for tensor in batch])
            counts = (4, len(yolo_criterion(1, 1).build_targets(predictions, targets)[0][0]))
            terms = [yolo_criterion(*gains)(predictions, targets)[0][0] for gains in ((0, 0.25), (1, 0))]
            found.append(torch.stack([term * count for term, count in zip(terms, counts, strict=True)]))
    return torch.stack(found)


def yolo_problem() -> Problem:
    """The same digits; an image has more matches than boxes, as a box matches neighbouring cells too."""
    own = problems.boxes(weights=(4.0, 0.05), microbatches=2)  # 4 is the gain of the first level

    def columns(batch: problems.Triple) -> dict[str, Any]:
        inputs = (yolo_inputs(model, [t[k : k + 1] for t in batch]) for k in range(len(batch[0])))
        counts = [len(yolo_criterion(1, 1).build_targets(*one)[0][0]) for one in inputs]
        return {"elements": torch.tensor([[4, count] for count in counts])}

    model = problems.network(64, 20).double()
    return replace(own, model=lambda: problems.network(64, 20), losses=yolo_losses, columns=columns)


def yolo(model: nn.Module, batch: problems.Triple) -> None:
    with doubles():
        for micro in problems.split(batch, 2):
            yolo_criterion(0.05, 1.0)(*yolo_inputs(model, micro))[0].backward()


def retinanet_problem() -> Problem:
    """The same digits, with boxes of four numbers."""
    own = problems.boxes("box")
    return replace(own, model=lambda: problems.network(64, 20), losses=retinanet_losses)


DETECTORS: dict[str, tuple[Callable[[], Problem], Callable[..., None]]] = {
    "retinanet-2017:torchvision": (retinanet_problem, retinanet),
    "yolov5-2020": (yolo_problem, yolo),
}


@pytest.mark.filterwarnings("ignore")  # of what packages import
@pytest.mark.parametrize("name", DETECTORS)
def test_the_loss_of_a_detector_weighs_images_as_its_card_says(name: str) -> None:
    problem, run = DETECTORS[name]
    step = replace(step_of(f"papers/{name}"), problem=problem, step=run)
    run(step.model(), step.batch(0)[0])  # skips where it is not installed
    paper = replace(papers[name], max_norm=None)
    assert paper.verified == "measured"
    assert gradient_complaints(paper, step) == []
    assert gradient_complaints(replace(paper, formula="1/n"), step) != []


@pytest.mark.filterwarnings("ignore")
def test_ultralytics_multiplies_by_the_images_of_a_micro_batch() -> None:
    loss = package_or_skip("ultralytics.utils.loss")
    images, inputs = 6, randn(6, 5)
    rank, microbatch = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
    corners = torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.3, 0.5, 0.6, 0.9], [0.5, 0.4, 0.9, 0.7]]).double()
    of_image = torch.tensor([0, 1, 1, 2, 3, 4, 4, 4, 5])
    boxes = corners[[0, 1, 2, 1, 2, 0, 1, 2, 0]]
    detect = SimpleNamespace(stride=torch.tensor([8.0]), nc=1, reg_max=4)
    inside = SimpleNamespace(
        parameters=lambda: iter([torch.ones(1)]),
        args=SimpleNamespace(box=7.5, cls=0.5, dfl=1.5),
        model=[detect],
    )
    scores = []

    def criterion(model: nn.Module, rows: np.ndarray) -> Tensor:
        outputs = model(inputs[rows]).reshape(len(rows), 17, 16)
        here = np.isin(of_image, rows)
        found = loss.v8DetectionLoss(inside)
        found.assigner.register_forward_hook(lambda *call: scores.append(float(call[-1][2].sum())))
        predictions = {"boxes": outputs[:, :16], "scores": outputs[:, 16:]}
        predictions["feats"] = [outputs.reshape(len(rows), 17, 4, 4)]
        numbered = {int(row): k for k, row in enumerate(rows)}
        batch = {"batch_idx": torch.tensor([numbered[int(i)] for i in of_image[here]])}
        batch |= {"cls": torch.zeros(int(here.sum())), "bboxes": boxes[here]}
        return found(predictions, batch)[0].sum()  # as its trainer does

    def alone(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """`[images]` of each image alone, times its own target scores."""
        return torch.stack([criterion(model, np.array([k])) * max(scores[-1], 1) for k in batch[1].tolist()])

    with doubles():
        step = torch.zeros_like(left := left_in(started(17 * 16)))
        for r in range(2):
            for k in range(2):
                model = started(17 * 16)
                criterion(model, np.flatnonzero((rank == r) & (microbatch == k))).backward()
                assert scores[-1] > 1  # less is raised to 1
                step += left_in(model)
        del left
        scores.clear()
        alone(started(17 * 16), (inputs, torch.arange(images)))
        columns = {"elements": torch.tensor(scores), "rank": rank, "microbatch": microbatch}
        batch = (inputs, torch.arange(images))
        expected = by_convention(
            "ultralytics:v8", started(17 * 16), batch, alone, columns, window=2, world_size=2
        )
    assert distance(step, expected) < ROUNDING


def started(outputs: int) -> nn.Module:
    """A network whose gradients are zero, not missing."""
    model = network(5, outputs)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return model
