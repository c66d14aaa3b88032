"""gradsuite: which gradient a paper, framework or training loop computes, and which hyperparameters match it.

`import gradsuite` gives all that is public, from `suite`; nothing is imported before it is used. The
names in `__all__` are those that most people need. What else `suite` exports (`law`, `losses`,
`register_law`, `translate`, …) is an attribute here too.

>>> import gradsuite
>>> gradsuite.equivalent("SGD", {"lr": 0.1}, scale=1 / 32).hyperparameters
{'lr': 3.2}
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite import CaseError as CaseError
    from suite import Convention as Convention
    from suite import Recovery as Recovery
    from suite import RunResult as RunResult
    from suite import Sizes as Sizes
    from suite import (
        Units,
        UsageError,
        assert_convention,
        convert_state,
        equivalent,
        per_sample_gradients,
        recover,
        run,
        scale_between,
        watch,
    )
    from suite import __version__ as __version__
    from suite import law as law
    from suite import losses as losses
    from suite import register_law as register_law
    from suite import translate as translate
    from suite.case import Problem, case

__all__ = [
    "Problem",
    "Units",
    "UsageError",
    "assert_convention",
    "case",
    "convert_state",
    "equivalent",
    "per_sample_gradients",
    "recover",
    "run",
    "scale_between",
    "watch",
]

_ROOT = Path(__file__).parent
_PACKAGES = ("suite", "cases")
_ELSEWHERE = {"Problem": "suite.case", "case": "suite.case"}


def __getattr__(name: str) -> object:
    if name.startswith("__") and name != "__version__":  # asked by Python's own tools, not by a person
        raise AttributeError(
            f"module 'gradsuite' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    _require_suite()
    public = import_module("suite")
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if name not in {*__all__, *public.__all__}:
        raise AttributeError(
            f"module 'gradsuite' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    return getattr(public, name)


def __dir__() -> list[str]:
    try:
        _require_suite()
    except ImportError:
        return sorted(__all__)
    return sorted({*__all__, *import_module("suite").__all__})


def main(argv: Sequence[str] | None = None) -> int:
    """The command line, `gradsuite COMMAND`: it works beside folders that are called as its packages are.

    Args:
        argv: the words after `gradsuite`; those that the process was started with if None.

    Returns:
        The exit code: 0 all is well, 1 something measured failed, 2 the input is wrong.
    """
    _step_back()
    try:
        _require_suite()
    except ImportError as error:
        print(f"gradsuite: {error}", file=sys.stderr)  # noqa: T201  a command line prints
        return 2
    from suite.cli.main import main as command

    return command(argv)


def _step_back() -> None:
    """Put folders with packages of our names behind ours on the path: this process is gradsuite's."""
    if str(_ROOT) not in sys.path:
        return
    for entry in sys.path[: sys.path.index(str(_ROOT))]:
        found = [PathFinder.find_spec(name, [entry]) for name in _PACKAGES]
        if any(spec is not None and spec.origin is not None for spec in found):
            sys.path.remove(entry)
            sys.path.append(entry)


def _require_suite() -> None:
    """Make sure that `suite` is gradsuite's.

    Raises:
        ImportError: It is another one; the message says where that is, and how to go round it.
    """
    try:
        spec = find_spec("suite")
        found = None if spec is None else spec.origin
    except ValueError:  # a module that was put together by hand
        spec, found = None, repr(sys.modules["suite"])
    ours = _ROOT / "suite" / "__init__.py"
    if found is None:
        raise ImportError(f"gradsuite's package 'suite' is not at {ours}: install gradsuite again")
    if Path(found).resolve() != ours.resolve():
        raise ImportError(
            f"gradsuite's package 'suite' is hidden by {found}: rename that one, or start Python where it "
            "is not on sys.path (the command `gradsuite` works beside it)"
        )
    get_source = getattr(spec.loader, "get_source", None) if spec is not None else None
    if get_source is not None and not (get_source("suite") or "").startswith('"""gradsuite:'):
        raise ImportError(
            f"gradsuite's package {ours.parent} was overwritten by another distribution "
            f"{_others()}: install gradsuite again (pip install --force-reinstall --no-deps), in a virtual "
            "environment without that one"
        )


def _others() -> str:
    from importlib.metadata import packages_distributions

    names = sorted(set(packages_distributions().get("suite", [])) - {"gradsuite"})
    return f"({', '.join(names)})" if names else "that has a package 'suite'"


if __name__ == "__main__":
    sys.exit(main())
