"""The types of `gradsuite`: a single module cannot say that it has some (PEP 561), a package of stubs can."""

from suite import CaseError as CaseError
from suite import Convention as Convention
from suite import Recovery as Recovery
from suite import RunResult as RunResult
from suite import Sizes as Sizes
from suite import Units as Units
from suite import UsageError as UsageError
from suite import __version__ as __version__
from suite import assert_convention as assert_convention
from suite import convert_state as convert_state
from suite import equivalent as equivalent
from suite import law as law
from suite import losses as losses
from suite import per_sample_gradients as per_sample_gradients
from suite import recover as recover
from suite import register_law as register_law
from suite import run as run
from suite import scale_between as scale_between
from suite import translate as translate
from suite.case import Problem as Problem
from suite.case import case as case
from suite.watch import huggingface as _huggingface
from suite.watch import lightning as _lightning
from suite.watch import watching as _watching

class _Watch:
    """A package that can be called."""

    huggingface = _huggingface
    lightning = _lightning
    __call__ = staticmethod(_watching.watch)

watch: _Watch
