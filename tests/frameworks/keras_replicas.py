"""One step of Keras on two replicas: `python keras_replicas.py FILE.npz`, weights in, moves out.

A process of its own: a backend of Keras is chosen once, and so are TensorFlow's devices.
"""

from __future__ import annotations

import sys

import numpy as np


def train(path: str) -> None:
    """What SGD at a rate of 1 subtracts from the weights in one batch."""
    import keras
    import tensorflow as tf

    given = dict(np.load(path))
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.config.set_floatx("float64")
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(5, "tanh"),
            keras.layers.Dense(3),
        ])  # fmt: skip
        model.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError())
    before = [given[f"weight{k}"] for k in range(4)]

    class FromTheStart(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            self.model.set_weights([weight.T for weight in before])

    # A first batch of other sizes raises: Keras builds a model with the mean of its replicas' inputs.
    even = [np.concatenate([given[name][:1], given[name]]) for name in ("inputs", "targets")]
    batches = [np.concatenate([given_even, given_even[1:]]) for given_even in even]
    model.fit(*batches, batch_size=6, shuffle=False, verbose=0, callbacks=[FromTheStart()])
    moves = [old - new.T for old, new in zip(before, model.get_weights(), strict=True)]
    np.savez(path, moves=np.concatenate([move.ravel() for move in moves]))


if __name__ == "__main__":
    train(sys.argv[1])
