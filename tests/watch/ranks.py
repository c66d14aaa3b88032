"""Training runs on several ranks, each a process; what rank 0 found is written into a file."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import suite
from tests.watch.runs import Language, Pairs, batches, losses, network


def data(rank: int, count: int) -> list[Any]:
    """Micro-batches of other sizes on each rank."""
    return batches(*(2 + (rank + k) % 3 for k in range(count)), dtype=torch.float32, seed=rank)


def ddp(rank: int, *, watched: bool = True, every: int = 1, scale: float = 1.0, **options: Any) -> Any:
    """Four updates, two micro-batches each; the mean of each micro-batch, over K and the ranks."""
    inside = network(dtype=torch.float32)
    model = DistributedDataParallel(inside)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    audit = suite.watch(model, losses, every=every, **options)
    if watched:
        audit.__enter__()
    loader = data(rank, 8)
    for k, (x, y) in enumerate(audit.see(loader) if watched else loader):
        (scale * F.cross_entropy(model(x), y) / 2).backward()
        if k % 2:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
            optimizer.step()
            optimizer.zero_grad()
    if watched:
        audit.__exit__(None, None, None)
    return audit, [p.detach().clone() for p in inside.parameters()]


def same_bits(rank: int) -> Any:
    (audit, first), (_, second) = ddp(rank), ddp(rank, watched=False)
    return audit, {"same": all(torch.equal(a, b) for a, b in zip(first, second, strict=True))}


def fails_on_one_rank(rank: int) -> Any:
    """One rank is called with what the audit cannot read."""
    model = Pairs(network(dtype=torch.float32))
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = suite.losses.classification
    with suite.watch(parallel, given) as audit:
        for x, y in data(rank, 2):
            if rank == 1:
                audit._hooks._gather = _broken
            parallel(x, labels=y)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit, {}


def _broken(*_: Any) -> Any:
    raise RuntimeError("broken on purpose")


def ends_early(rank: int) -> Any:
    """Rank 1 has fewer batches; no collective, each rank averages for itself."""
    model = network(dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, losses, timeout=30.0) as audit:
        for x, y in audit.see(data(rank, 3 - rank)):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit, {}


def without_targets(rank: int) -> Any:
    """Rank 1 has no valid target in its first batch; the mean is over the global count."""
    model = Pairs(network(dtype=torch.float32))
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(parallel, suite.losses.classification) as audit:
        for k, (x, y) in enumerate(data(rank, 2)):
            y = torch.full_like(y, -100) if rank == 1 and k == 0 else y
            count = (y != -100).sum()
            distributed.all_reduce(count)
            total = F.cross_entropy(parallel(x)["logits"], y, reduction="sum")
            audit.microbatch({"x": x, "labels": y})
            (total * distributed.get_world_size() / count).backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit, {}


def fsdp(rank: int) -> Any:
    """Parameters in shards."""
    from torch.distributed.fsdp import fully_shard

    make = lambda: Pairs(network(dtype=torch.float32))  # noqa: E731
    model = make()
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with suite.watch(model, suite.losses.classification, factory=make) as audit:
        for x, y in data(rank, 2):
            model(x, labels=y)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit, {}


class Shared(Language):
    """A language model whose sequences lie in pieces on the ranks: each knows the sums of those before it."""

    def forward(self, input_ids: Any, position_ids: Any, **_: Any) -> Any:
        from torch.distributed.nn.functional import all_reduce

        embedded = self.embed(input_ids)
        own = torch.zeros(distributed.get_world_size(), len(embedded), embedded.shape[-1])
        own[distributed.get_rank()] = embedded.sum(1)
        before = all_reduce(own)[: distributed.get_rank()].sum(0)
        sums = embedded.cumsum(1) + before[:, None]
        return {"logits": self.head(torch.tanh(sums / (position_ids[..., None] + 1)))}


def context(rank: int) -> Any:
    """Each rank has a piece of each sequence; first the mean of the ranks' token means, then a token mean."""
    torch.manual_seed(0)
    count = distributed.get_world_size()
    model = Shared()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids = torch.randint(1, 11, (2, 3 * count))
    targets = torch.where(torch.rand(ids.shape) < 0.4, -100, ids.roll(-1, 1))
    positions = torch.arange(3 * count).expand(ids.shape)
    mine = slice(3 * rank, 3 * rank + 3)
    targets[0, ::3] = 1  # no rank is without a target
    with suite.watch(model, suite.losses.masked_lm, context=count, factory=Language) as audit:
        for each in (True, False):
            labels = targets[:, mine]
            found = model(input_ids=ids[:, mine], position_ids=positions[:, mine], labels=labels)
            total = F.cross_entropy(found["logits"].transpose(1, 2), labels, reduction="sum")
            valid = (labels != -100).sum()
            if not each:
                distributed.all_reduce(valid)
            (total / valid / (count if each else 1)).backward()
            for p in model.parameters():
                distributed.all_reduce(p.grad)
            optimizer.step()
            optimizer.zero_grad()
    return audit, {"valid": [int((targets[:, 3 * r : 3 * r + 3] != -100).sum()) for r in range(count)]}


def gathered(own: torch.Tensor) -> torch.Tensor:
    """`[samples, all positions, …]` the pieces of all ranks, each with the gradient of all that read it."""
    from torch.distributed.nn.functional import all_reduce

    count, rank = distributed.get_world_size(), distributed.get_rank()
    pieces = [own if other == rank else torch.zeros_like(own) for other in range(count)]
    found: torch.Tensor = all_reduce(torch.cat(pieces, 1))
    return found


class Attention(torch.nn.Module):
    """Causal attention over sequences whose positions lie anywhere on the ranks; whole without them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.where = torch.nn.Embedding(11, 8), torch.nn.Embedding(32, 8)
        self.project, self.head = torch.nn.Linear(8, 24), torch.nn.Linear(8, 11)
        self.shared = False

    def forward(self, input_ids: Any, position_ids: Any, **_: Any) -> Any:
        inside = self.embed(input_ids) + self.where(position_ids)
        query, key, value = self.project(inside).chunk(3, -1)
        places = position_ids
        if self.shared:
            key, value, places = (gathered(tensor) for tensor in (key, value, position_ids))
        seen = places[:, None, :] <= position_ids[:, :, None]
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return {"logits": self.head(inside + found)}


def attention(rank: int) -> Any:
    """Each rank has a piece from the front of each sequence and one from its end, so that all do as much."""
    torch.manual_seed(1)
    count = distributed.get_world_size()
    ids = torch.randint(1, 11, (2, 4 * count))
    targets = torch.where(torch.rand(ids.shape) < 0.4, -100, ids.roll(-1, 1))
    targets[0, :2] = 1  # no rank is without a target
    pieces = torch.arange(4 * count).reshape(2 * count, 2)
    mine = pieces[[rank, 2 * count - 1 - rank]].flatten()
    model = Attention()
    model.shared = True
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, suite.losses.masked_lm, context=count, factory=Attention) as audit:
        for each in (True, False):
            labels = targets[:, mine]
            found = model(input_ids=ids[:, mine], position_ids=mine.expand(2, -1), labels=labels)
            total = F.cross_entropy(found["logits"].transpose(1, 2), labels, reduction="sum")
            valid = (labels != -100).sum()
            if not each:
                distributed.all_reduce(valid)
            (total / valid / (count if each else 1)).backward()
            for p in model.parameters():
                distributed.all_reduce(p.grad)
            optimizer.step()
            optimizer.zero_grad()
    own = [pieces[[r, 2 * count - 1 - r]].flatten() for r in range(count)]
    return audit, {"valid": [int((targets[:, places] != -100).sum()) for places in own]}


def synchronised_too_early(rank: int) -> Any:
    """Communication is on for the first micro-batch of a window and off for the last.

    https://github.com/modelscope/FunASR/pull/3472
    """
    model = DistributedDataParallel(network(dtype=torch.float32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, losses) as audit:
        for k, (x, y) in enumerate(audit.see(data(rank, 2))):
            with model.no_sync() if k else nullcontext():
                (F.cross_entropy(model(x), y) / 2).backward()
        optimizer.step()
    return audit, {}


def without_a_sampler(rank: int) -> Any:
    """All ranks train on the same batches."""
    model = DistributedDataParallel(network(dtype=torch.float32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(data(0, 1)):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return audit, {}


SCENARIOS = (
    context, attention, synchronised_too_early, without_a_sampler, same_bits, fails_on_one_rank,
    without_targets, fsdp, ends_early,
)  # fmt: skip


def main(rank: int, count: int, folder: Path) -> None:
    """All scenarios, one after the other: to start a process takes longer than they do."""
    store = distributed.FileStore(str(folder / "store"), count)
    distributed.init_process_group("gloo", rank=rank, world_size=count, store=store)
    for scenario in SCENARIOS:
        audit, more = scenario(rank)
        updates = [
            {
                "number": u.number, "names": u.names, "scale": u.scale, "weights": u.weights.tolist(),
                "rank": u.units.rank.tolist(), "notes": u.notes,
            }
            for u in audit.updates
        ]  # fmt: skip
        found = {"updates": updates, "failures": list(map(str, audit.failures)), "text": str(audit), **more}
        (folder / f"{scenario.__name__}-{rank}.json").write_text(json.dumps(found))
        distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
