"""The units table: what a convention may look at.

A *unit* is the smallest piece of a batch whose loss has a gradient of its own: a sample, or a
(sample, part) pair where a part is a loss term, an augmented copy or a token. A regulariser is one
more unit, the last one. The table has one row a unit; a convention is one column of coefficients
over its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.algebra.columns import DECLARED, NEEDS, NUMBER_SETTINGS, UNIT_COLUMNS, Declaration
from suite.errors import UsageError, shortened, unknown

if TYPE_CHECKING:
    import pandas as pd

Column = NDArray[np.float64]
Index = NDArray[np.int64]
Grouping = Literal["microbatch", "rank", "part"]

REGULARISER = -1
"""The sample, part, micro-batch and rank of the regulariser's unit: it belongs to none."""

UNSTATED = "the case does not state elements, though its losses have {} values a sample"


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one batch, sample by sample, part by part; a regulariser comes last.

    Args:
        sample: `[units]` the sample of each unit, 0-based; −1 for the regulariser.
        part: `[units]` the index of its part in `parts`; 0 where samples have one part.
        elements: `[units]` how many loss elements (outputs, valid tokens) the unit's loss sums over.
        positions: `[units]` the same with padding and ignored targets counted, or None.
        weight: `[units]` its sample or class weight, or None.
        microbatch: `[units]` the micro-batch that it is in, or None.
        rank: `[units]` the rank that it is on, or None.
        term_weight: `[units]` the weight of its loss term, or None.
        parts: the names of the parts; empty where samples have one part.
        part_kind: whether the parts are `terms` of the loss or augmented `copies`.
        window: K, the number of micro-batches in a full accumulation window.
        world_size: the number of ranks that training began with.
        expected_batch_size: L, the batch size that the sampling aims at.
        max_elements: L_max, the longest sequence that the configuration allows.
        moving_average: of the denominators of the batches before this one.
        max_norm: C, the clip threshold.
        values: how many values a sample's loss was seen to have though nobody stated `elements`: what
            divides by elements does not apply then; None where elements are as they stand.
        added_to_norm: what is added to a norm before C is divided by it: 1e-6 by PyTorch and Opacus.

    Raises:
        UsageError: The columns differ in length, or one holds what it cannot.
    """

    sample: Index
    part: Index
    elements: Column
    positions: Column | None = None
    weight: Column | None = None
    microbatch: Index | None = None
    rank: Index | None = None
    term_weight: Column | None = None
    parts: tuple[str, ...] = ()
    part_kind: Literal["terms", "copies"] = "terms"
    window: int = 1
    world_size: int = 1
    expected_batch_size: float | None = None
    max_elements: int | None = None
    moving_average: float | None = None
    max_norm: float | None = None
    added_to_norm: float = 0.0
    values: int | None = None
    data: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in UNIT_COLUMNS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _checked_column(DECLARED[name], value, len(self.sample)))
        object.__setattr__(self, "data", self.sample != REGULARISER)
        for name in NUMBER_SETTINGS:
            value = getattr(self, name)
            if value is not None or _DEFAULTS[name] is not None:
                _check_setting(DECLARED[name], value)
        names = self.parts
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"units: parts are {names!r}: a tuple of names is needed")
        if self.part_kind not in ("terms", "copies"):
            raise UsageError(f"units: part_kind is {self.part_kind!r}: 'terms' or 'copies' is needed")

    @classmethod
    def of(
        cls,
        samples: int,
        columns: Mapping[str, ArrayLike] | None = None,
        *,
        parts: tuple[str, ...] = (),
        regulariser: bool = False,
        **settings: object,
    ) -> Units:
        """The table of `samples` × `parts` units, from columns that are given by sample.

        Args:
            samples: n, the number of samples.
            columns: by name, a scalar, `[samples]` or `[samples, parts]`; `term_weight` is `[parts]`.
            parts: the names of the parts, if samples have several.
            regulariser: whether one more unit, the regulariser, follows.
            **settings: the remaining fields of `Units`.

        Returns:
            The table, one row a unit: sample by sample, part by part within a sample.

        Raises:
            UsageError: A column is unknown or does not fit the samples and parts.

        Examples:
            Three samples in two micro-batches:

            >>> from gradsuite import Units
            >>> units = Units.of(3, {"microbatch": [0, 0, 1]}, window=2)
            >>> len(units), units.microbatch.tolist()
            (3, [0, 0, 1])
        """
        if not isinstance(samples, Integral) or isinstance(samples, bool) or samples < 0:
            raise UsageError(f"units: {shortened(samples)} samples were given: a whole number is needed")
        if columns is not None and not isinstance(columns, Mapping):
            raise UsageError(
                f"units: columns are {shortened(columns)}: a dict is needed, such as {{'weight': [1, 2]}}"
            )
        if wrong := next((name for name in settings if name not in _DEFAULTS), None):
            raise unknown("setting of units", wrong, _DEFAULTS.keys() - UNIT_COLUMNS, "help(gradsuite.Units)")
        width = max(len(parts), 1)
        filled: dict[str, Any] = {
            "sample": np.repeat(np.arange(samples), width),
            "part": np.tile(np.arange(width), samples),
            "elements": np.ones(samples * width),
        }
        for name, value in (columns or {}).items():
            if name not in UNIT_COLUMNS:
                raise UsageError(f"units: no column {name!r}; there are {', '.join(UNIT_COLUMNS)}")
            filled[name] = _spread(name, _array(value), samples, width)
        if regulariser:
            last = {name: REGULARISER if DECLARED[name].holds == "index" else 0 for name in filled}
            filled = {name: np.append(value, last[name]) for name, value in filled.items()}
        return cls(**filled, parts=tuple(parts), **settings)

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(np.unique(self.sample[self.data]))

    @property
    def regulariser(self) -> bool:
        """Whether the last unit is a regulariser."""
        return not bool(self.data.all())

    @property
    def frame(self) -> pd.DataFrame:
        """The table as a pandas frame, one row a unit, parts by name."""
        import pandas as pd

        names = [*(self.parts or ("",)), "regulariser"]  # index −1 is the regulariser's
        columns = {name: getattr(self, name) for name in UNIT_COLUMNS}
        columns["part"] = [names[index] for index in self.part]
        return pd.DataFrame({k: v for k, v in columns.items() if v is not None})

    def missing(self, needs: tuple[str, ...]) -> str | None:
        """Why a convention with these `needs` does not apply here, or None where it does."""
        return next((NEEDS[need].missing for need in needs if not self._has(need)), None)

    def _has(self, need: str) -> bool:
        several = len(self.parts) > 1
        match need:
            case "microbatches":
                return self.microbatch is not None and self.window > 1
            case "ranks":
                return self.rank is not None and self.world_size > 1
            case "terms" | "copies":
                return several and self.part_kind == need
            case "regulariser":
                return self.regulariser
            case _:
                return getattr(self, need) is not None

    def require(self, name: str) -> Any:
        """The column or setting `name`.

        Raises:
            UsageError: This table has none; `missing` tells before.
        """
        value = getattr(self, name)
        if value is None:
            need = DECLARED[name].need if name in DECLARED else None
            raise UsageError(f"units: {need.missing if need else f'there is no column {name!r}'}")
        return value

    def groups(self, by: Grouping) -> int:
        """How many micro-batches, ranks or parts hold at least one sample."""
        return len(np.unique(self.require(by)[self.data]))

    def total(self, values: Column | None = None, by: Grouping | None = None) -> Column:
        """`[units]` the sum of `values` (default: the elements) over the batch, or over each unit's group."""
        values = self.elements if values is None else values
        values = np.where(self.data, values, 0.0)
        if by is None:
            return np.full(len(self), values.sum())
        index = self.require(by)
        sums = np.bincount(index[self.data], weights=values[self.data], minlength=1)
        return np.where(self.data, sums[index], 0.0)

    def sample_total(self) -> Column:
        """`[units]` the elements of each unit's sample, over all its parts."""
        sums = np.bincount(self.sample[self.data], weights=self.elements[self.data], minlength=1)
        return np.where(self.data, sums[self.sample], 0.0)

    def column(self, values: ArrayLike, regulariser: float = 1.0) -> Column:
        """`[units]` the coefficients `values` for the data and `regulariser` for the regulariser's unit."""
        spread = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(self),))
        return np.where(self.data, spread, regulariser)


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Units)}
"""None where a table may do without."""


def per(count: ArrayLike) -> Column:
    """`1 / max(count, 1)`: an empty group divides by one.

    So do Caffe, Chainer and TRL; PyTorch's own mean is nan there. The gradient of an empty group is
    zero, hence the choice changes nothing that is finite.
    """
    return np.asarray(1.0 / np.maximum(np.asarray(count, dtype=np.float64), 1.0))


def _array(value: Any) -> NDArray[Any]:
    """An array of what was given; a tensor may be on any device, and in a format that NumPy lacks."""
    if hasattr(value, "detach"):
        host = value.detach().cpu()
        value = host.double().numpy() if host.is_floating_point() else host.numpy()
    return np.asarray(value)


def _checked_column(declared: Declaration, value: ArrayLike, units: int) -> NDArray[np.generic]:
    """`[units]` the column as it is kept."""
    given = _array(value)
    try:
        array = np.asarray(given, dtype=np.int64 if declared.holds == "index" else np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"units: column {declared.name!r} holds what is no number") from None
    if declared.holds == "index" and array.shape == given.shape and (array != given).any():
        raise UsageError(f"units: column {declared.name!r} holds indices: whole numbers are needed")
    if array.shape != (units,):
        raise UsageError(
            f"units: column {declared.name!r} has shape {list(array.shape)}, "
            f"one value for each of the {units} units is needed"
        )
    if not np.isfinite(array).all():
        raise UsageError(f"units: column {declared.name!r} must be finite")
    if declared.holds == "count" and not ((array >= declared.least) & (array <= declared.most)).all():
        raise UsageError(f"units: column {declared.name!r} counts, and goes from 0 to {declared.most}")
    return array


def _check_setting(declared: Declaration, value: object) -> None:
    kind = Integral if declared.holds == "whole" else Real
    fits = isinstance(value, kind) and not isinstance(value, bool)
    least, most = declared.least, declared.most
    if not fits or not least <= value <= most:  # type: ignore[operator]
        whole = f"a whole number from {least} to {most}"
        needed = whole if kind is Integral else f"a finite number of at least {least}"
        raise UsageError(f"units: {declared.name} is {shortened(value)}: {needed} is needed")


def _spread(name: str, value: NDArray[np.generic], samples: int, width: int) -> NDArray[np.generic]:
    """A column by sample, by part or by both as a column by unit."""
    if DECLARED[name].by == "term" and value.ndim == 1:
        value = value[None, :]
    elif value.ndim == 1:
        value = value[:, None]
    try:
        return np.broadcast_to(value, (samples, width)).flatten()
    except ValueError:
        raise UsageError(
            f"units: column {name!r} has shape {list(value.shape)}; for {samples} samples of {width} "
            f"parts it must be a scalar, [{samples}] or [{samples}, {width}]"
        ) from None
