"""Data-parallel wrappers: PyTorch DDP and FSDP, DeepSpeed, Horovod.

They scale whatever scalar the user's loss is; the formulas are for PyTorch's mean over elements.
"""

from suite.frameworks.word import CodeLocation, word

_DDP = CodeLocation(
    "pytorch/pytorch",
    "v2.13.0",
    "torch/nn/parallel/distributed.py",
    "DistributedDataParallel",
    "2.13.0",
)
_FSDP = CodeLocation(
    "pytorch/pytorch",
    "v2.13.0",
    "torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py",
    "_get_gradient_divide_factors",
    "2.13.0",
)
_DEEPSPEED = CodeLocation(
    "deepspeedai/DeepSpeed",
    "edaa722",
    "deepspeed/runtime/engine.py",
    "DeepSpeedEngine.backward, allreduce_bucket",
    "0.19.8",
)
_HOROVOD = CodeLocation(
    "horovod/horovod",
    "2626dc8",
    "horovod/torch/optimizer.py",
    "_DistributedOptimizer._allreduce_grad_async",
    "0.28.1",
)
_HOROVOD_TF = CodeLocation(
    "horovod/horovod",
    "2626dc8",
    "horovod/tensorflow/gradient_aggregation.py",
    "LocalGradientAggregationHelper.allreduce_grads_helper",
    "0.28.1",
)

_CLIPS = "Its engine clips the norm at 1.0 unless gradient_clipping says otherwise; 0 is off."

word(
    "torch:ddp",
    "1/(R·V_r)",
    "Each rank's mean, then the mean over ranks.",
    unsplit="element-mean",
    typed="DistributedDataParallel(model), one backward() a step",
    source=_DDP,
    known="run",
    tokens=False,
    note="A loss that is a sum gives 1/R of the sum over all ranks.",
)
word(
    "torch:fsdp",
    "1/(R·V_r)",
    "Each rank's mean, then the mean over ranks.",
    unsplit="element-mean",
    typed="fully_shard(model) or FullyShardedDataParallel(model), one backward() a step",
    source=_FSDP,
    known="run",
    tokens=False,
    note="In half precision FSDP divides by about √R before the sum and by the rest after: the same mean, "
    "rounded elsewhere. set_gradient_divide_factor(1) makes it a sum over ranks.",
)
word(
    "deepspeed:mean",
    "1/(K·R·V_kr)",
    "Each micro-batch's mean, then the mean over micro-batches and ranks.",
    unsplit="element-mean",
    typed="engine.backward(loss) with gradient_accumulation_steps (its default)",
    source=_DEEPSPEED,
    known="run",
    tokens=False,
    note=f"backward(scale_wrt_gas=False) leaves out the division by K. {_CLIPS}",
)
word(
    "deepspeed:gradient_predivide_factor",
    "1/(K·R·V_kr)",
    "The same mean: divided by the factor p before the all-reduce, multiplied by p/R after it.",
    unsplit="element-mean",
    typed='{"gradient_predivide_factor": p}',
    source=_DEEPSPEED,
    known="run",
    tokens=False,
    note=_CLIPS,
)
word(
    "deepspeed:prescale_gradients",
    "1/(K·R·V_kr)",
    "The same mean: divided by R before the all-reduce; gradient_predivide_factor is not looked at.",
    unsplit="element-mean",
    typed='{"prescale_gradients": true}',
    source=_DEEPSPEED,
    known="run",
    tokens=False,
    note=_CLIPS,
)
word(
    "deepspeed:sum",
    "1/(K·V_kr)",
    "Each micro-batch's mean, the mean over micro-batches, summed over ranks.",
    unsplit="element-mean",
    typed='{"gradient_allreduce_op": "sum"}',
    source=_DEEPSPEED,
    known="run",
    tokens=False,
    note=_CLIPS,
    penalty="R",
)
word(
    "horovod:Average",
    "1/(R·V_kr)",
    "Each micro-batch's mean, summed over the micro-batches, then the mean over ranks.",
    unsplit="element-mean",
    typed="hvd.DistributedOptimizer(optimizer, backward_passes_per_step=K) (op=Average is its default)",
    source=_HOROVOD,
    known="run",
    tokens=False,
    penalty="K",
    note="backward_passes_per_step divides by nothing. gradient_predivide_factor gives the same mean.",
)
word(
    "horovod:Sum",
    "1/V_kr",
    "Each micro-batch's mean, summed over the micro-batches and the ranks.",
    unsplit="element-mean",
    typed="hvd.DistributedOptimizer(optimizer, op=hvd.Sum)",
    source=_HOROVOD,
    known="run",
    tokens=False,
    penalty="K·R",
    note="op=hvd.Adasum is not linear in the gradients: no weights of the samples give it.",
)
word(
    "horovod:average_aggregated_gradients",
    "1/(K·R·V_kr)",
    "Each micro-batch's mean, then the mean over micro-batches and ranks.",
    unsplit="element-mean",
    typed="hvd.DistributedOptimizer(…, average_aggregated_gradients=True) of horovod.tensorflow",
    source=_HOROVOD_TF,
    tokens=False,
    note="False is its default: then micro-batches are summed, as in horovod.torch.",
)
