"""One forward pass that notes what each layer reads, and one backward pass to the layers' outputs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from suite.engines import torch_func as functional
from suite.engines.engine import Refused
from suite.engines.one_pass import keeps_graph
from suite.engines.streaming.capture import ForwardCall, captured
from suite.engines.streaming.layer_gradients import LayerGradients
from suite.engines.streaming.layers import LAYERS, LayerCall, rows, supported
from suite.engines.streaming.outer_product import Formed
from suite.engines.streaming.streamed import Streamed
from suite.engines.streaming.tokens import unmixed
from suite.loops import batch as batches
from suite.loops.autograd import parameter_reads
from suite.loops.batch import Batch
from suite.loops.loop import Losses

FORMED_AT_A_TIME = 1 << 24
"""How many numbers a layer may form at a time, where there is memory for them."""

SHARE = 8
"""One in so many bytes of the memory is for what is formed at a time, and one for what stays of it."""


def compute(model: nn.Module, batch: Batch, losses: Losses, memory: int | None = None) -> Streamed:
    """The gradients of the units, held as layer inputs and output gradients.

    Parts whose rows are their own in every layer (stacked augmented copies) take one backward pass, those
    whose positions no layer mixes (tokens without attention) two or three;
    others (several terms of one output) take one a part. Parameters that are used otherwise than by
    calls of layers that this engine knows go through `torch.func`, they alone.

    Args:
        model: whose parameters are differentiated by.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        memory: how many bytes there are: a share of them for what is formed at a time, and another for
            what is kept.

    Raises:
        Refused: A layer mixes samples, its input was overwritten, or layers are on several devices.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if len(places := {p.device for p in trained.values()}) > 1:
        raise Refused(f"adds up layers where they are, and these are on {len(places)} devices")
    layers = [
        module
        for module in model.modules()
        if supported(module) and any(p is not None and p.requires_grad for p in _own(module).values())
    ]
    with captured(layers) as calls:
        entries = losses(model, batch)
    samples = batches.size(batch)
    units = entries.numel()
    read = parameter_reads(entries)
    if calls and all(rows(c.module, c.input) == units for c in calls):
        samples = units
    entries = entries.reshape(samples, -1)
    if found := unmixed(entries, calls):
        calls, gradients = found
        samples = units
    else:
        gradients = _backward(entries, calls, keep=keeps_graph(losses))
    known = {id(p): name for name, p in trained.items()}
    stray = _stray(trained, read, calls, gradients, samples)
    first = next(iter(trained.values()))
    share = None if memory is None else memory // SHARE
    at_a_time = FORMED_AT_A_TIME * first.itemsize
    if share is not None:
        at_a_time = max(first.itemsize, min(at_a_time, share))
    with torch.no_grad():
        known = {i: n for i, n in known.items() if n not in stray}
        by_layer = _layer_gradients(calls, gradients, samples, known, at_a_time)
    if stray:
        by_layer.append(Formed(functional.compute(model, batch, losses, only=stray).blocks))
    shapes = {name: p.shape for name, p in trained.items()}
    return Streamed(by_layer, shapes, units, first.new_empty(0), memory=share)


def _own(module: nn.Module) -> dict[str, nn.Parameter]:
    """The module's own weight and bias, where these are parameters."""
    found = ((kind, getattr(module, kind, None)) for kind in ("weight", "bias"))
    return {kind: p for kind, p in found if isinstance(p, nn.Parameter)}


def _backward(entries: Tensor, calls: Sequence[ForwardCall], *, keep: bool) -> list[list[Tensor | None]]:
    """By call, by part: the gradient of the part's losses by the call's output."""
    edges = [call.edge for call in calls]
    if not edges:
        return []
    parts = entries.shape[1]
    by_part = []
    for part in range(parts):
        chosen = torch.zeros_like(entries)
        chosen[:, part] = 1
        more = keep or part + 1 < parts
        by_part.append(torch.autograd.grad(entries, edges, chosen, retain_graph=more, allow_unused=True))
    return [list(of_call) for of_call in zip(*by_part, strict=True)]


def _stray(
    trained: Mapping[str, Tensor],
    read: Counter[int],
    calls: Sequence[ForwardCall],
    gradients: Sequence[Sequence[Tensor | None]],
    samples: int,
) -> set[str]:
    """The parameters that are read elsewhere than in calls that keep samples in rows."""
    explained: Counter[int] = Counter()
    for call, of_call in zip(calls, gradients, strict=True):
        given = rows(call.module, call.input)
        if all(g is None for g in of_call) or not given or given % samples:
            continue
        for parameter in _own(call.module).values():
            explained[id(parameter)] += 1
    return {name for name, p in trained.items() if read[id(p)] != explained[id(p)]}


def _layer_gradients(
    calls: Sequence[ForwardCall],
    gradients: Sequence[Sequence[Tensor | None]],
    samples: int,
    known: Mapping[int, str],
    memory: int,
) -> list[LayerGradients]:
    """The gradients of all layers; those of a parameter that several share are formed and added up."""
    by_module: dict[nn.Module, list[LayerCall]] = defaultdict(list)
    for call, of_call in zip(calls, gradients, strict=True):
        present = next((g for g in of_call if g is not None), None)
        if present is None or not any(id(p) in known for p in _own(call.module).values()):
            continue
        call.require_untouched()
        filled = [torch.zeros_like(present) if g is None else g for g in of_call]
        b = filled[0].unsqueeze(1) if len(filled) == 1 else torch.stack(filled, dim=1)
        by_module[call.module].append(LayerCall(call.input, b, samples, memory))
    found: list[LayerGradients] = []
    owners: Counter[str] = Counter()
    for module, of_module in by_module.items():
        names = {kind: known[id(p)] for kind, p in _own(module).items() if id(p) in known}
        by_layer = LAYERS[type(module)](module, of_module, names)
        found += by_layer
    for layer in found:
        owners.update(layer.names)
    shared = {name for name, count in owners.items() if count > 1}
    return _added_up(found, shared) if shared else found


def _added_up(by_layer: Sequence[LayerGradients], shared: set[str]) -> list[LayerGradients]:
    kept: list[LayerGradients] = []
    total: dict[str, Tensor] = {}
    for layer in by_layer:
        if not shared.intersection(layer.names):
            kept.append(layer)
            continue
        for name, block in layer.formed().items():
            total[name] = total[name] + block if name in total else block
    return [*kept, Formed(total)]
