"""Trainers that accumulate: Accelerate, Lightning, the Hugging Face Trainer, Keras, optax.

They scale whatever scalar the user's loss is; the formulas are for PyTorch's mean over elements.
"""

from suite.frameworks.word import CodeLocation, word

_ACCELERATE = CodeLocation(
    "huggingface/accelerate", "v1.15.0", "src/accelerate/accelerator.py", "Accelerator.backward", "1.15.0"
)
_LIGHTNING = CodeLocation(
    "Lightning-AI/pytorch-lightning",
    "2.6.6",
    "src/lightning/pytorch/loops/optimization/automatic.py",
    "ClosureResult.from_training_step_output",
    "2.6.6",
)
_TRAINER = CodeLocation(
    "huggingface/transformers", "v5.24.0", "src/transformers/trainer.py", "Trainer.training_step", "5.24.0"
)
_KERAS = CodeLocation(
    "keras-team/keras",
    "v3.15.1",
    "keras/src/optimizers/base_optimizer.py",
    "BaseOptimizer.apply",
    "3.15.1",
)
_KERAS_LOSS = CodeLocation(
    "keras-team/keras",
    "v3.15.1",
    "keras/src/losses/loss.py",
    "scale_loss_for_distribution",
    "3.15.1",
)
_OPTAX = CodeLocation(
    "google-deepmind/optax", "v0.2.8", "optax/transforms/_accumulation.py", "MultiSteps", "0.2.8"
)

word(
    "accelerate:accumulate",
    "1/(W·R·V_kr)",
    "Each micro-batch's mean divided by the steps of a full window, then the mean over ranks.",
    unsplit="element-mean",
    typed="Accelerator(gradient_accumulation_steps=K), accelerator.backward(loss)",
    source=_ACCELERATE,
    known="run",
    tokens=False,
    penalty="K/W",
    note="The last window of an epoch is divided by the full K too: its step is smaller.",
)
word(
    "lightning:accumulate_grad_batches",
    "1/(W·R·V_kr)",
    "Each micro-batch's mean divided by the steps of a full window, then the mean over ranks.",
    unsplit="element-mean",
    typed="Trainer(accumulate_grad_batches=K)",
    source=_LIGHTNING,
    known="run",
    tokens=False,
    penalty="K/W",
    note="The last window of an epoch is divided by the full K too: its step is smaller.",
)
word(
    "trainer:num_items_in_batch",
    "1/V",
    "Token sums over one count of tokens for all micro-batches and ranks.",
    unsplit="token-mean",
    typed="transformers.Trainer with a causal language model (its default)",
    source=_TRAINER,
    known="run",
    note="Since 4.46. The count spans ranks with average_tokens_across_devices, which is the default.",
)
word(
    "trainer:own-count-a-rank",
    "1/(R·V_r)",
    "Token sums over one count of tokens for the rank's window, then the mean over ranks.",
    unsplit="token-mean",
    typed="TrainingArguments(average_tokens_across_devices=False)",
    source=_TRAINER,
    known="run",
)
word(
    "trainer:mean-of-means",
    "1/(K·R·V_kr)",
    "Each micro-batch's mean, then the mean over the micro-batches that there are and over ranks.",
    unsplit="element-mean",
    typed="transformers.Trainer with a model whose forward takes no loss arguments",
    source=_TRAINER,
    known="run",
    tokens=False,
    note="All models before 4.46, then divided by the full K.",
)
word(
    "keras:gradient_accumulation_steps",
    "1/(K·V_k)",
    "Each micro-batch's mean, then the mean over the micro-batches of the window.",
    unsplit="element-mean",
    typed="keras.optimizers.SGD(gradient_accumulation_steps=K)",
    source=_KERAS,
    known="run",
    tokens=False,
    note="The window goes on over the end of an epoch. Clipping and weight decay come after the mean.",
)
word(
    "keras:strategy",
    "1/(R·V_r)",
    "Each replica's mean divided by the number of replicas, summed over replicas.",
    unsplit="element-mean",
    typed="tf.distribute strategies with model.fit (TensorFlow backend)",
    source=_KERAS_LOSS,
    known="run",
    tokens=False,
    note="fit raises where the replicas of its first batch have other sizes; in a later batch they may.",
)
word(
    "optax:MultiSteps",
    "1/(K·V_k)",
    "Each micro-batch's mean, then the mean over the micro-batches, whatever their sizes.",
    unsplit="element-mean",
    typed="optax.MultiSteps(optimizer, every_k_schedule=K)",
    source=_OPTAX,
    known="run",
    tokens=False,
)
word(
    "optax:MultiSteps-sum",
    "1/V_k",
    "Each micro-batch's mean, summed over the micro-batches.",
    unsplit="element-mean",
    typed="optax.MultiSteps(optimizer, every_k_schedule=K, use_grad_mean=False)",
    source=_OPTAX,
    known="run",
    tokens=False,
    penalty="K",
)
