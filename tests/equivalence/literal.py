"""Optimizers written out the way each framework or paper prints them, in numpy and nothing else.

They are the oracle of the dialects: none of them knows torch, and none is made from another. Each
takes the weights, a function that gives the gradient at the weights and the step (from 1), the
number of steps, and the hyperparameters under the dialect's own names. Each returns `[steps, params]`.
"""

from __future__ import annotations

import numpy as np


def rates(learning_rate, steps):
    if isinstance(learning_rate, float):
        return [learning_rate] * steps
    return list(learning_rate)


def keras_sgd(w, gradient, steps, *, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0, l2=0.0):
    v, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + 2 * l2 * w
        w = w - w * weight_decay * lr
        v = momentum * v - lr * g
        w = w + momentum * v - lr * g if nesterov else w + v
        path.append(w)
    return np.array(path)


def keras_adam(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    amsgrad=False,
    weight_decay=0.0,
    l2=0.0,
):
    m, v, top, path = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + 2 * l2 * w
        w = w - w * weight_decay * lr
        alpha = lr * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        m = m + (g - m) * (1 - beta_1)
        v = v + (g * g - v) * (1 - beta_2)
        top = np.maximum(top, v)
        w = w - alpha * m / (np.sqrt(top if amsgrad else v) + epsilon)
        path.append(w)
    return np.array(path)


def keras_nadam(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    weight_decay=0.0,
    l2=0.0,
):
    m, v, product, path = np.zeros_like(w), np.zeros_like(w), 1.0, []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + 2 * l2 * w
        w = w - w * weight_decay * lr
        now, then = (beta_1 * (1 - 0.5 * 0.96**k) for k in (t, t + 1))
        product *= now
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        m_hat = then * m / (1 - product * then) + (1 - now) * g / (1 - product)
        w = w - lr * m_hat / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
        path.append(w)
    return np.array(path)


def keras_adamax(
    w, gradient, steps, *, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=0.0
):
    m, u, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        w = w - w * weight_decay * lr
        m = beta_1 * m + (1 - beta_1) * g
        u = np.maximum(beta_2 * u, abs(g))
        w = w - lr / (1 - beta_1**t) * m / (u + epsilon)
        path.append(w)
    return np.array(path)


def keras_rmsprop(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    rho=0.9,
    momentum=0.0,
    epsilon=1e-7,
    centered=False,
    weight_decay=0.0,
    start=0.0,
):
    v, mean, b, path = np.full_like(w, start), np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        w = w - w * weight_decay * lr
        v = rho * v + (1 - rho) * g**2
        mean = rho * mean + (1 - rho) * g
        b = momentum * b + lr * g / np.sqrt(v - centered * mean**2 + epsilon)
        w = w - b
        path.append(w)
    return np.array(path)


def keras_adagrad(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    initial_accumulator_value=0.1,
    epsilon=1e-7,
    weight_decay=0.0,
    l2=0.0,
):
    a, path = np.full_like(w, initial_accumulator_value), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + 2 * l2 * w
        w = w - w * weight_decay * lr
        a = a + g**2
        w = w - lr * g / np.sqrt(a + epsilon)
        path.append(w)
    return np.array(path)


def keras_adadelta(w, gradient, steps, *, learning_rate, rho=0.95, epsilon=1e-7, weight_decay=0.0):
    v, u, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        w = w - w * weight_decay * lr
        v = rho * v + (1 - rho) * g**2
        delta = -np.sqrt(u + epsilon) / np.sqrt(v + epsilon) * g
        u = rho * u + (1 - rho) * delta**2
        w = w + lr * delta
        path.append(w)
    return np.array(path)


def tf1_momentum(w, gradient, steps, *, learning_rate, momentum, use_nesterov=False, l2=0.0):
    a, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + l2 * w
        a = a * momentum + g
        w = w - lr * g - lr * momentum * a if use_nesterov else w - lr * a
        path.append(w)
    return np.array(path)


def tf1_adagrad(w, gradient, steps, *, learning_rate, initial_accumulator_value=0.1, l2=0.0):
    a, path = np.full_like(w, initial_accumulator_value), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + l2 * w
        a = a + g * g
        w = w - lr * g / np.sqrt(a)
        path.append(w)
    return np.array(path)


def optax_adam(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    nesterov=False,
    weight_decay=0.0,
    maximum=False,
):
    mu, nu, top, path = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        hat = mu / (1 - b1**t)
        if nesterov:
            hat = b1 * mu / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        top = np.maximum(top, nu / (1 - b2**t))
        below = np.sqrt((top if maximum else nu / (1 - b2**t)) + eps_root) + eps
        w = w - lr * (hat / below + weight_decay * w)
        path.append(w)
    return np.array(path)


def optax_adamax(w, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    mu, nu, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        mu, nu = b1 * mu + (1 - b1) * g, np.maximum(abs(g) + eps, b2 * nu)
        w = w - lr * (mu / (1 - b1**t) / nu + weight_decay * w)
        path.append(w)
    return np.array(path)


def optax_radam(w, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    mu, nu, path, limit = np.zeros_like(w), np.zeros_like(w), [], 2 / (1 - b2) - 1
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        rho = limit - 2 * t * b2**t / (1 - b2**t)
        step = mu / (1 - b1**t)
        if rho >= 5:
            r = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
            step = np.sqrt(r) * step / (np.sqrt(nu / (1 - b2**t)) + eps)
        w = w - lr * step
        path.append(w)
    return np.array(path)


def optax_rmsprop(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    decay=0.9,
    eps=1e-8,
    initial_scale=0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum=0.0,
    nesterov=False,
    bias_correction=False,
):
    nu, mu, trace, path = np.full_like(w, initial_scale), np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        nu, mu = decay * nu + (1 - decay) * g**2, decay * mu + (1 - decay) * g
        c = 1 - decay**t if bias_correction else 1.0
        v = nu / c - centered * (mu / c) ** 2
        update = -lr * g * (1 / np.sqrt(v + eps) if eps_in_sqrt else 1 / (np.sqrt(v) + eps))
        trace = update + momentum * trace
        w = w + (update + momentum * trace if nesterov else trace)
        path.append(w)
    return np.array(path)


def optax_adadelta(w, gradient, steps, *, learning_rate, rho=0.9, eps=1e-6, weight_decay=0.0):
    e_g, e_x, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t) + weight_decay * w
        e_g = rho * e_g + (1 - rho) * g**2
        x = np.sqrt(e_x + eps) / np.sqrt(e_g + eps) * g
        e_x = rho * e_x + (1 - rho) * x**2
        w = w - lr * x
        path.append(w)
    return np.array(path)


def sklearn_sgd(w, gradient, steps, *, eta0, power_t=0.25, alpha=1e-4):
    path = []
    for t in range(1, steps + 1):
        eta = eta0 / t**power_t
        w = (1 - eta * alpha) * w - eta * gradient(w, t)
        path.append(w)
    return np.array(path)


def sklearn_mlp_sgd(
    w, gradient, steps, *, learning_rate_init, momentum=0.9, nesterovs_momentum=True, alpha=0.0, n=1
):
    velocity, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate_init, steps), 1):
        g = (n * gradient(w, t) + alpha * w) / n
        velocity = momentum * velocity - lr * g
        w = w + (momentum * velocity - lr * g if nesterovs_momentum else velocity)
        path.append(w)
    return np.array(path)


def caffe_nesterov(w, gradient, steps, *, base_lr, momentum=0.0, weight_decay=0.0):
    history, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(base_lr, steps), 1):
        diff = gradient(w, t) + weight_decay * w
        before = history
        history = lr * diff + momentum * history
        w = w - ((1 + momentum) * history - momentum * before)
        path.append(w)
    return np.array(path)


def caffe_adam(w, gradient, steps, *, base_lr, momentum, momentum2=0.999, delta=1e-8, weight_decay=0.0):
    m, v, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(base_lr, steps), 1):
        diff = gradient(w, t) + weight_decay * w
        m, v = momentum * m + (1 - momentum) * diff, momentum2 * v + (1 - momentum2) * diff**2
        correction = np.sqrt(1 - momentum2**t) / (1 - momentum**t)
        w = w - lr * correction * (m / (np.sqrt(v) + delta))
        path.append(w)
    return np.array(path)


def caffe_rmsprop(w, gradient, steps, *, base_lr, rms_decay=0.99, delta=1e-8, weight_decay=0.0):
    history, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(base_lr, steps), 1):
        diff = gradient(w, t) + weight_decay * w
        history = (1 - rms_decay) * diff**2 + rms_decay * history
        w = w - lr * (diff / (np.sqrt(history) + delta))
        path.append(w)
    return np.array(path)


def caffe_adagrad(w, gradient, steps, *, base_lr, delta=1e-8, weight_decay=0.0):
    history, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(base_lr, steps), 1):
        diff = gradient(w, t) + weight_decay * w
        history = history + diff**2
        w = w - lr * (diff / (np.sqrt(history) + delta))
        path.append(w)
    return np.array(path)


def caffe_adadelta(w, gradient, steps, *, base_lr, momentum, delta=1e-8, weight_decay=0.0):
    squares, updates, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(base_lr, steps), 1):
        diff = gradient(w, t) + weight_decay * w
        squares = (1 - momentum) * diff**2 + momentum * squares
        diff = diff * np.sqrt((delta + updates) / (delta + squares))
        updates = (1 - momentum) * diff**2 + momentum * updates
        w = w - lr * diff
        path.append(w)
    return np.array(path)


def alexnet(w, gradient, steps, *, lr, momentum=0.9, weight_decay=0.0005):
    v, path = np.zeros_like(w), []
    for t, epsilon in enumerate(rates(lr, steps), 1):
        v = momentum * v - weight_decay * epsilon * w - epsilon * gradient(w, t)
        w = w + v
        path.append(w)
    return np.array(path)


def mxnet_sgd(w, gradient, steps, *, learning_rate, momentum=0.0, wd=0.0):
    mom, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        mom = momentum * mom - lr * wd * w - lr * gradient(w, t)
        w = w + mom
        path.append(w)
    return np.array(path)


def darknet_sgd(w, gradient, steps, *, learning_rate, momentum, decay, n=4):
    updates, path = np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        updates = updates - n * gradient(w, t)  # Darknet's deltas are negative gradients, summed
        updates = updates - decay * n * w
        w = w + lr / n * updates
        updates = momentum * updates
        path.append(w)
    return np.array(path)


def adamw_paper(w, gradient, steps, *, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay, multiplier=None):
    m, v, path = np.zeros_like(w), np.zeros_like(w), []
    for t in range(1, steps + 1):
        eta = 1.0 if multiplier is None else multiplier[t - 1]
        g = gradient(w, t)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        w = w - eta * (lr * m_hat / (np.sqrt(v_hat) + eps) + weight_decay * w)
        path.append(w)
    return np.array(path)


def sgdw_paper(w, gradient, steps, *, lr, momentum, weight_decay):
    m, path = np.zeros_like(w), []
    for t in range(1, steps + 1):
        m = momentum * m + lr * gradient(w, t)
        w = w - m - weight_decay * w
        path.append(w)
    return np.array(path)


def bert_adam(
    w,
    gradient,
    steps,
    *,
    learning_rate,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-6,
    weight_decay_rate=0.0,
):
    m, v, path = np.zeros_like(w), np.zeros_like(w), []
    for t, lr in enumerate(rates(learning_rate, steps), 1):
        g = gradient(w, t)
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        w = w - lr * (m / (np.sqrt(v) + epsilon) + weight_decay_rate * w)
        path.append(w)
    return np.array(path)


def dqn_rmsprop(w, gradient, steps, *, lr, alpha=0.95, eps=0.01, weight_cost=0.0):
    g1, g2, path = np.zeros_like(w), np.zeros_like(w), []
    for t in range(1, steps + 1):
        dw = -gradient(w, t) - weight_cost * w  # the Lua code ascends
        g1, g2 = alpha * g1 + (1 - alpha) * dw, alpha * g2 + (1 - alpha) * dw * dw
        w = w + lr * dw / np.sqrt(g2 - g1 * g1 + eps)
        path.append(w)
    return np.array(path)


def glove_adagrad(w, gradient, steps, *, eta=0.05):
    """src/glove.c: the rate is inside the accumulator, and the new square is added after the division."""
    w, gradsq, path = w.copy(), np.ones_like(w), []
    for t in range(1, steps + 1):
        temp = eta * gradient(w, t)
        w = w - temp / np.sqrt(gradsq)
        gradsq = gradsq + temp * temp
        path.append(w.copy())
    return np.array(path)
