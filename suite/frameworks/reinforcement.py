"""Reinforcement learning of language models: TRL, verl, OpenRLHF.

A unit is a sequence, whose loss sums over its tokens, at a probability ratio of 1: clipping of ratios and
normalising of rewards come before.
"""

from suite.frameworks.word import CodeLocation, word

_TRL = CodeLocation(
    "huggingface/trl", "f2cd577", "trl/trainer/grpo_trainer.py", "GRPOTrainer._compute_loss", "1.16.0"
)
_RLOO = CodeLocation(
    "huggingface/trl", "f2cd577", "trl/trainer/rloo_trainer.py", "RLOOTrainer._compute_loss", "1.16.0"
)
_DPO = CodeLocation(
    "huggingface/trl", "f2cd577", "trl/trainer/dpo_trainer.py", "DPOTrainer.compute_loss", "1.16.0"
)
_SFT = CodeLocation(
    "huggingface/trl", "v1.16.0", "trl/trainer/sft_trainer.py", "SFTTrainer.compute_loss", "1.16.0"
)
_VERL = CodeLocation("verl-project/verl", "1dda039", "verl/trainer/ppo/core_algos.py", "agg_loss", "0.9.1")
_VERL_ACTOR = CodeLocation(
    "volcengine/verl",
    "b178a3c",
    "verl/workers/actor/dp_actor.py",
    "DataParallelPPOActor.update_policy",
    "0.7.1",
)
_OPENRLHF = CodeLocation(
    "OpenRLHF/OpenRLHF", "3c3be62", "openrlhf/models/loss.py", "aggregate_loss", "0.11.2"
)

word(
    "trl:grpo",
    "1/(K·R·n_kr·V_i)",
    "Each sequence's token mean, the mean over the micro-batch, then over micro-batches and ranks.",
    unsplit="mean-of-sequence-means",
    typed='GRPOConfig(loss_type="grpo")',
    source=_TRL,
    known="run",
    note="The default until GRPOTrainer's became dapo.",
)
word(
    "trl:sapo",
    "1/(K·R·n_kr·V_i)",
    "Each sequence's token mean, the mean over the micro-batch, then over micro-batches and ranks.",
    unsplit="mean-of-sequence-means",
    typed='GRPOConfig(loss_type="sapo")',
    source=_TRL,
    known="run",
    note="Reduced as grpo; the loss of a token is another.",
)
word(
    "trl:bnpo",
    "1/(K·R·V_kr)",
    "Each micro-batch's token mean, then the mean over micro-batches and ranks.",
    unsplit="token-mean",
    typed='GRPOConfig(loss_type="bnpo")',
    source=_TRL,
    known="run",
    note="Depends on per_device_train_batch_size; with 1 it is grpo.",
)
word(
    "trl:dr_grpo",
    "1/(K·R·n_kr·Lmax)",
    "Token sums over sequences times the longest completion allowed, then the mean over micro-batches "
    "and ranks.",
    unsplit="constant-normaliser",
    typed='GRPOConfig(loss_type="dr_grpo"); Lmax is max_completion_length',
    source=_TRL,
    known="run",
)
word(
    "trl:dapo",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed='GRPOConfig(loss_type="dapo") (its default)',
    source=_TRL,
    known="run",
    note="In 1.16 the count of the generation batch is scaled to the window; at f2cd577 it is not, and the "
    "gradient is smaller by steps_per_generation / gradient_accumulation_steps.",
)
word(
    "trl:cispo",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed='GRPOConfig(loss_type="cispo")',
    source=_TRL,
    known="run",
)
word(
    "trl:vespo",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed='GRPOConfig(loss_type="vespo")',
    source=_TRL,
    known="run",
)
word(
    "trl:luspo",
    "1/(K·R·n_kr)",
    "Each sequence's loss times its length, the mean over a micro-batch, then over these and ranks.",
    unsplit="mean",
    typed='GRPOConfig(loss_type="luspo", importance_sampling_level="sequence")',
    source=_TRL,
    known="run",
    note="The sequence's ratio is a mean over its tokens, so that times the length it is their sum.",
)
word(
    "trl:rloo",
    "1/(K·R·n_kr)",
    "Log-probabilities summed over a sequence, the mean over a micro-batch, then over these and ranks.",
    unsplit="mean",
    typed="RLOOTrainer, RLOOConfig",
    source=_RLOO,
    known="run",
    note="Tokens are summed: a sequence weighs by its length. The Trainer divides by the micro-batches.",
)
word(
    "trl:dpo",
    "1/(K·R·n_kr)",
    "The mean over pairs, tokens summed, then over micro-batches and ranks.",
    unsplit="mean",
    typed='DPOConfig(loss_type="sigmoid")',
    source=_DPO,
    known="run",
    note="A unit is a pair.",
)
word(
    "trl:sft",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed='SFTConfig(loss_type="nll") (its default), "dft" alike',
    source=_SFT,
    known="run",
    note="average_tokens_across_devices=False counts the tokens of each rank.",
)
word(
    "verl:token-mean",
    "1/V",
    "Token sums over one count of tokens for the whole mini-batch, all ranks in it.",
    unsplit="token-mean",
    typed="actor.loss_agg_mode=token-mean (its default)",
    source=_VERL,
    known="run",
)
word(
    "verl:token-sum",
    "1",
    "Token sums, nothing divided.",
    unsplit="sum",
    typed="actor.loss_agg_mode=token-sum",
    source=_VERL,
    known="run",
)
word(
    "verl:seq-mean-token-sum",
    "1/n",
    "Token sums over the sequences of the whole mini-batch.",
    unsplit="mean",
    typed="actor.loss_agg_mode=seq-mean-token-sum",
    source=_VERL,
    known="run",
)
word(
    "verl:seq-mean-token-mean",
    "1/(n·V_i)",
    "Each sequence's token mean, over the sequences of the whole mini-batch.",
    unsplit="mean-of-sequence-means",
    typed="actor.loss_agg_mode=seq-mean-token-mean",
    source=_VERL,
    known="run",
    note="1e-8 is added to each length.",
)
word(
    "verl:seq-mean-token-sum-norm",
    "1/(n·Lmax)",
    "Token sums over sequences times a constant length.",
    unsplit="constant-normaliser",
    typed="actor.loss_agg_mode=seq-mean-token-sum-norm; Lmax is loss_scale_factor, or the padded response",
    source=_VERL,
    known="run",
    note="At volcengine/verl@b178a3c nothing divided by n.",
)
word(
    "verl:token-mean-fsdp-actor",
    "1/(K·R·V_kr)",
    "Each micro-batch's token mean, then the mean over micro-batches and ranks.",
    unsplit="token-mean",
    typed="actor.loss_agg_mode=token-mean, use_dynamic_bsz=False, in the FSDP actor, gone in 0.8",
    source=_VERL_ACTOR,
    known="run",
)
word(
    "verl:token-mean-fsdp-actor-dynamic",
    "n_kr/(n_r·R·V_kr)",
    "Each micro-batch's token mean times its share of the rank's sequences, then the mean over ranks.",
    unsplit="token-mean",
    typed="actor.loss_agg_mode=token-mean, use_dynamic_bsz=True, in the FSDP actor, gone in 0.8",
    source=_VERL_ACTOR,
    known="run",
    note="DAPO's script trains so.",
)
word(
    "openrlhf:token",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed="token_level_loss=True (its default)",
    source=_OPENRLHF,
    known="run",
)
word(
    "openrlhf:sequence",
    "1/(n·V_i)",
    "Each sequence's token mean, over the sequences of all micro-batches and ranks.",
    unsplit="mean-of-sequence-means",
    typed="token_level_loss=False",
    source=_OPENRLHF,
    known="run",
)
