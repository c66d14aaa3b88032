"""Training of language models: Megatron, fairseq, torchtune, torchtitan, OLMo, nanoGPT, Axolotl."""

from suite.frameworks.word import CodeLocation, word

_MEGATRON = CodeLocation(
    "NVIDIA/Megatron-LM",
    "d98e8a6",
    "megatron/core/pipeline_parallel/schedules.py",
    "forward_step_calc_loss",
    "0.16.1",
)
_MEGATRON_COUNT = CodeLocation(
    "NVIDIA/Megatron-LM",
    "d98e8a6",
    "megatron/core/distributed/finalize_model_grads.py",
    "finalize_model_grads",
    "0.16.1",
)
_MEGATRON_DDP = CodeLocation(
    "NVIDIA/Megatron-LM",
    "d98e8a6",
    "megatron/core/distributed/distributed_data_parallel.py",
    "DistributedDataParallel; param_and_grad_buffer.py, start_grad_sync",
    "0.16.1",
)
_FAIRSEQ = CodeLocation(
    "facebookresearch/fairseq", "3d262bb", "fairseq/trainer.py", "Trainer.train_step", "0.12.2"
)
_TUNE = CodeLocation(
    "pytorch/torchtune",
    "bd2a0fc",
    "recipes/full_finetune_distributed.py",
    "FullFinetuneRecipeDistributed.train",
    "0.6.1",
)
_TITAN = CodeLocation(
    "pytorch/torchtitan",
    "b5bcd76",
    "torchtitan/components/loss.py",
    "CrossEntropyLoss.__call__; trainer.py, Trainer.train_step",
    "0.3.0",
)
_OLMO = CodeLocation("allenai/OLMo", "59a53e3", "olmo/train.py", "Trainer.train_batch", "0.6.0")
_NANOGPT = CodeLocation("karpathy/nanoGPT", "3adf61e", "train.py", "the training loop", "2025-11-12")
_AXOLOTL = CodeLocation(
    "axolotl-ai-cloud/axolotl",
    "067b021",
    "src/axolotl/core/trainers/base.py",
    "AxolotlTrainer.compute_loss",
    "0.19.0",
)

word(
    "megatron:mean-of-means",
    "1/(K·R·V_kr)",
    "Each micro-batch's token mean, then the mean over micro-batches and data-parallel ranks.",
    unsplit="token-mean",
    typed="calculate_per_token_loss=False (its default)",
    source=_MEGATRON,
    known="run",
)
word(
    "megatron:average_in_collective",
    "1/(K·R·V_kr)",
    "The same mean: the all-reduce averages, and nothing is divided before it.",
    unsplit="token-mean",
    typed="DistributedDataParallelConfig(average_in_collective=True)",
    source=_MEGATRON_DDP,
    known="run",
    note="Not allowed together with calculate_per_token_loss.",
)
word(
    "megatron:calculate_per_token_loss",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed="--calculate-per-token-loss",
    source=_MEGATRON_COUNT,
    known="run",
)
word(
    "fairseq:sample_size",
    "1/V",
    "Token sums over one count of tokens for all micro-batches (update_freq) and ranks.",
    unsplit="token-mean",
    typed="cross_entropy, label_smoothed_cross_entropy (by default sample_size is ntokens), --update-freq K",
    source=_FAIRSEQ,
    known="run",
    note="Clipped after the division.",
)
word(
    "fairseq:sentence-avg",
    "1/n",
    "Token sums over one count of sentences for all micro-batches (update_freq) and ranks.",
    unsplit="mean",
    typed="--sentence-avg",
    source=_FAIRSEQ,
    known="run",
    note="Longer sentences weigh more, and the gradient is a sentence length times the token mean's.",
)
word(
    "torchtune:num_tokens",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed="tune run full_finetune_distributed",
    source=_TUNE,
    known="run",
    note="It counts labels before the shift: where the first token of a line has one, micro-batches weigh a "
    "little otherwise.",
)
word(
    "torchtitan:global_valid_tokens",
    "1/V",
    "Token sums over one count of valid tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed="its cross-entropy loss (its default)",
    source=_TITAN,
    known="run",
    note="FSDP's division by the ranks is switched off.",
)
word(
    "olmo:batch_size_in_tokens",
    "1/(R·n_r·T)",
    "Token sums over the positions of the rank's batch, ignored ones counted, then the mean over ranks.",
    unsplit="position-mean",
    typed="scripts/train.py (its default)",
    source=_OLMO,
    known="run",
    note="A line of T tokens has T − 1 targets and counts T.",
)
word(
    "nanogpt:gradient_accumulation_steps",
    "1/(K·R·V_kr)",
    "Each micro-batch's token mean, then the mean over micro-batches and ranks.",
    unsplit="token-mean",
    typed="gradient_accumulation_steps = K (split among the ranks)",
    source=_NANOGPT,
    note="All its sequences have block_size tokens: it is the token mean.",
)
word(
    "axolotl:num_items_in_batch",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks: the Hugging Face Trainer's.",
    unsplit="token-mean",
    typed="axolotl train (its default)",
    source=_AXOLOTL,
    known="run",
)
