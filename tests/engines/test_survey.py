"""The reference document of what engines get wrong is what the survey finds, and covers what Opacus lists."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import metadata

import pytest

from suite.engines.engine import engines
from suite.errors import CaseError
from tests.engines.survey import FILE, JUDGED, LAYERS, judged, losses

TEXT = FILE.read_text(encoding="utf-8")
same = pytest.mark.skipif(
    f"opacus {metadata.version('opacus')}," not in TEXT or f"torch {metadata.version('torch')}," not in TEXT,
    reason="the reference document is of other versions",
)


def opacus_classes() -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside Opacus and its imports
        from opacus import GradSampleModule
    return {kind.__name__ for kind in GradSampleModule.GRAD_SAMPLERS}


def test_every_layer_that_opacus_lists_is_surveyed() -> None:
    assert {layer.kind for layer in LAYERS} - {""} >= opacus_classes()


@same
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_the_document_says_what_is_measured(layer) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| {layer.name} |"))
    for engine in JUDGED:
        assert f"| {judged(layer, engine)} |" in row


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_the_suite_never_takes_a_wrong_gradient(layer) -> None:
    import suite

    model, x = layer.build()
    try:
        found = suite.per_sample_gradients(model, x, losses)
    except CaseError:
        return
    assert found.engine in engines.names
    assert found.engine == "loop" or judged(layer, found.engine) == "right"


@same
def test_the_examples_run_and_show_two_different_gradients() -> None:
    _, *parts = TEXT.split("### ")
    assert len(parts) > 1
    for part in parts:
        code = part.split("```python\n")[1].split("```")[0]
        command = [sys.executable, "-W", "ignore", "-c", code]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if part.startswith("The checker"):
            assert said == "False\nTrue\n"
            continue
        pairs = [line.removeprefix("grad: ").split(" sum of grad_sample: ") for line in said.splitlines()]
        assert any(a != b for a, b in pairs), part
