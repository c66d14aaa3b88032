"""Papers: one card each, what its gradient is and how that is known; for most, the step of its code.

The card of `NAME` is `NAME.toml`. Its step is a module, the name in lower case with `_` for `-` and `__` for
the `:` of a variant; its `STEP` is imported when it is run, as a source of claims: `papers/NAME`.
"""

from pathlib import Path

from suite.claim import STEP_PREFIX, claim_sources
from suite.replication.source import PaperStepSource

NOT_STEPS = {"__init__", *(path.stem for path in Path(__file__).parent.glob("problems*.py"))}

for _path in sorted(Path(__file__).parent.glob("*.py")):
    if _path.stem not in NOT_STEPS:
        _name = _path.stem.replace("__", ":").replace("_", "-")
        claim_sources.add(
            PaperStepSource(
                name=f"{STEP_PREFIX}{_name}",
                summary=f"The step that {_name} takes, run and held against its card",
                source=f"gradsuite show {_name}",
                module=f"cases.papers.{_path.stem}",
                tested=True,  # tests/replication/test_steps.py
                card_file=_path.parent / f"{_name.partition(':')[0]}.toml",
            )
        )
