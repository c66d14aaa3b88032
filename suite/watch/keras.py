"""The audit of Keras on torch: `model.fit(…, callbacks=[Audit(losses)])`.

Keras calls neither torch's hooks on modules nor torch's optimizers. So the model's `train_step` hands over
its batch, as the loader made it: `(x, y)` or `(x, y, sample_weight)`. Keras' optimizer is looked at where it
has the gradient that it is about to use: accumulated, unscaled and clipped, before weight decay moves a
weight. Keras is imported when `Audit` is first named.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError, one_line
from suite.watch.auditor import undisturbed
from suite.watch.callbacks import CallbackAudit, instead

if TYPE_CHECKING:
    from torch import Tensor

    from suite.watch.audit import RunAudit

MAKE_IT = "give Audit(losses, factory=) a function that makes the model and calls it once, which builds it"
SEAM = ("_backend_apply_gradients", "_clip_gradients")


class KerasEvents(CallbackAudit):
    """What happens in `fit`."""

    model: Any
    _meanwhile: ExitStack | None = None

    def on_train_begin(self, *_: Any) -> None:
        """The audit begins."""
        outer = self.model.optimizer
        optimizer = getattr(outer, "inner_optimizer", outer)
        _check(optimizer)
        audit = self.started(
            self.model, optimizer.gradient_accumulation_steps or 1, optimizer.global_clipnorm or None
        )
        self._meanwhile = ExitStack()
        step = self.model.train_step

        @wraps(step)
        def train_step(data: Any) -> Any:
            audit.microbatch(tuple(part for part in data if part is not None))
            return step(data)

        self._meanwhile.enter_context(instead(self.model, "train_step", train_step))
        _look(self._meanwhile, _Update(audit, self.model, self._options.get("factory")), optimizer)
        if outer is not optimizer:
            _look_for_overflow(self._meanwhile, audit, outer)

    def on_epoch_end(self, *_: Any) -> None:
        """The last update was the last one of an epoch."""
        if self.audit is not None:
            self.audit.epoch_ended()

    def on_train_end(self, *_: Any) -> None:
        """The audit ends."""
        self.ended()

    def ended(self) -> None:
        """The model and its optimizer are as they were."""
        if self._meanwhile is not None:
            self._meanwhile.close()
            self._meanwhile = None
        super().ended()


def _check(optimizer: Any) -> None:
    import keras

    backend = keras.backend.backend()
    if backend != "torch":
        raise UsageError(
            f"keras computes with {backend}: the audit needs torch, KERAS_BACKEND=torch; a step of another "
            "back end is recovered by suite.recover, from its gradient as numbers"
        )
    if not all(hasattr(optimizer, name) for name in SEAM):
        raise UsageError(
            f"keras {keras.__version__} has other optimizers than the audit knows: hand over "
            "audit.microbatch(batch) and audit.gradient(…) in a train_step of your own"
        )


class _Update:
    """What is seen of an update while Keras' optimizer applies it.

    The audit waits until `apply` is over, at a copy of the model: inside, Keras names whatever is made after
    the optimizer, the variables of a copy too.
    """

    def __init__(self, audit: RunAudit, model: Any, factory: Any) -> None:
        self.audit, self.model, self.factory = audit, model, factory
        self.copy: Any = None
        self.variables: list[Any] = []
        self.stepped = False
        self.gradient: dict[str, Tensor] | None = None
        self.before: dict[str, float] = {}

    def begins(self) -> None:
        """`apply` is called."""
        self.copy, self.stepped, self.gradient, self.before = None, False, None, {}
        if self.audit.due:
            try:
                with undisturbed():
                    self.copy = _copy(self.model, self.factory)
            except Exception as error:  # noqa: BLE001  an audit never ends a training
                self.audit.failed(error)

    def steps(self, grads: Any, clipped: Any) -> None:
        """Weights are about to move, by the clipped gradient."""
        self.stepped = True
        if self.copy is None:
            return
        own = {id(p): name for name, p in self.copy.named_parameters()}
        names = {
            id(variable.value): own.get(id(copied.value))
            for variable, copied in zip(self.model.variables, self.copy.variables, strict=True)
        }
        self.gradient = {}
        for variable, whole, part in zip(self.variables, grads, clipped, strict=True):
            name = names.get(id(variable.value))
            if name is not None:
                self.gradient[name] = part.detach().clone()
                self.before[name] = float(whole.detach().double().norm())

    def ends(self) -> None:
        """`apply` is over; where gradients are accumulated, it may have made no update."""
        if self.stepped:
            self.audit.gradient(self.gradient, before=self.before, at=self.copy)


def _look(meanwhile: ExitStack, update: _Update, optimizer: Any) -> None:
    """Look at the gradient that the optimizer uses."""
    applied, given, clipped = (getattr(optimizer, name) for name in ("apply", *SEAM))

    @wraps(applied)
    def apply(*args: Any, **kwargs: Any) -> Any:
        update.begins()
        found = applied(*args, **kwargs)
        update.ends()
        return found

    @wraps(given)
    def apply_gradients(grads: Any, variables: Any) -> Any:
        update.variables = list(variables)
        return given(grads, variables)

    @wraps(clipped)
    def clip_gradients(grads: Any) -> Any:
        found = clipped(grads)
        update.steps(grads, found)
        return found

    for name, function in zip(("apply", *SEAM), (apply, apply_gradients, clip_gradients), strict=True):
        meanwhile.enter_context(instead(optimizer, name, function))


def _copy(model: Any, factory: Any) -> Any:
    """A copy of the model as it is now, without what it was compiled with; copies of it are made so too.

    Raises:
        UsageError: Keras cannot clone it, or the factory makes another one.
    """
    import keras
    import torch

    try:
        with instead(model, "compiled", value=False):  # or its loss would have to be serialized
            made = keras.models.clone_model(model) if factory is None else factory()
        fits = [tuple(v.shape) for v in made.variables] == [tuple(v.shape) for v in model.variables]
    except Exception as error:
        raise UsageError(f"Keras cannot clone the model: {one_line(error)}; {MAKE_IT}") from error
    if not fits:
        raise UsageError(f"the copy of the model has other variables; {MAKE_IT}")
    with torch.no_grad():
        for copied, variable in zip(made.variables, model.variables, strict=True):
            copied.value.copy_(variable.value)
    object.__setattr__(made, "__deepcopy__", _Copier(made, factory))
    return made


class _Copier:
    """How `copy.deepcopy` copies a model of Keras, which by itself would write it into a file."""

    def __init__(self, model: Any, factory: Any) -> None:
        self.model, self.factory = model, factory

    def __call__(self, _: dict[int, Any]) -> Any:
        return _copy(self.model, self.factory)


def _look_for_overflow(meanwhile: ExitStack, audit: RunAudit, outer: Any) -> None:
    """A loss scale drops what overflowed: no update is made of it."""
    dropped = outer._stateful_handle_non_finite_grads  # noqa: SLF001

    def handle() -> Any:
        audit.discarded()
        return dropped()

    meanwhile.enter_context(instead(outer, "_stateful_handle_non_finite_grads", handle))


@cache
def _callback() -> type:
    from keras.callbacks import Callback

    return type("Audit", (KerasEvents, Callback), {"__doc__": __doc__, "__init__": _init})


def _init(self: Any, losses: Any, **options: Any) -> None:
    from keras.callbacks import Callback

    Callback.__init__(self)
    CallbackAudit.__init__(self, losses, **options)


def __getattr__(name: str) -> Any:
    if name == "Audit":
        return _callback()
    raise AttributeError(f"module 'suite.watch.keras' has no attribute {name!r}")
