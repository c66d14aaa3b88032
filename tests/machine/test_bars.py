"""Bars are widgets where there are any, and lines without a warning elsewhere."""

from __future__ import annotations

import subprocess
import sys

IN_A_NOTEBOOK = """
import sys, types
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
sys.modules["ipywidgets"] = None
from suite.machine import bars
print(bars.is_widget())
"""


def test_a_notebook_without_ipywidgets_gets_lines_and_no_warning() -> None:
    command = [sys.executable, "-W", "error", "-c", IN_A_NOTEBOOK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
