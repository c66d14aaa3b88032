"""The engine of `torch.func`: the gradient of one sample's losses, vectorised over the batch."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from suite.engines.unit_gradients import Materialised
from suite.loops.batch import Batch, map_tensors
from suite.loops.loop import Losses
from suite.machine.cuda import plain_attention


def compute(
    model: nn.Module, batch: Batch, losses: Losses, only: Collection[str] | None = None
) -> Materialised:
    """The gradients of the units by `vmap(jacrev(losses of one sample))`.

    Args:
        model: whose parameters are differentiated by.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        only: the names of the parameters; all that are trained if None.
    """
    whole = _Unreduced(model, losses)
    trained = {
        name: p.detach()
        for name, p in whole.named_parameters()
        if p.requires_grad and (only is None or name.removeprefix("model.") in only)
    }

    def of_one(parameters: dict[str, Tensor], sample: Batch) -> Tensor:
        single = map_tensors(lambda tensor: tensor.unsqueeze(0), sample)
        result: Tensor = torch.func.functional_call(whole, parameters, (single,))
        return result.reshape(-1)

    jacobian = torch.func.vmap(torch.func.jacrev(of_one), in_dims=(None, 0), randomness="same")
    with plain_attention():
        blocks = jacobian(trained, batch)  # by parameter, [samples, parts, *parameter.shape]
    return Materialised({
        name.removeprefix("model."): block.detach().flatten(0, 1) for name, block in blocks.items()
    })  # fmt: skip


class _Unreduced(nn.Module):
    """The losses as a module around the model: weights used outside the model's `forward` count too."""

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.model = model
        self.losses = losses

    def forward(self, batch: Batch) -> Tensor:
        return self.losses(self.model, batch)
