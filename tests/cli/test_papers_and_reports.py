"""`gradsuite table`, `plot`, `report` and `cite` on a run's folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from suite.cli.main import main
from tests.report.rows import row, rows, write


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(write(tmp_path / "run", rows()))


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("text", "-----"),
        ("latex", r"\toprule"),
        ("markdown", "|:-"),
        ("csv", "convention,"),
        ("html", "<table>"),
    ],
)
def test_each_format_is_printed(run: str, kind: str, sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", run, "--format", kind]) == 0
    shown = capsys.readouterr().out
    assert sign in shown
    assert shown.endswith("\n")


def test_a_table_is_written_where_it_is_asked_for(run: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "table.tex"
    options = ["--caption", "Mine & yours", "--label", "tab:mine", "--case", "one", "--out", str(out)]
    assert main(["table", run, "--format", "latex", *options]) == 0
    assert r"\caption{Mine \& yours}" in out.read_text()
    assert r"\label{tab:mine}" in out.read_text()


def test_columns_are_chosen_and_named(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", run, "--columns", "convention, scale", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["convention,scale", "sum,n"]
    assert main(["table", run, "--columns", "?"]) == 0
    assert "relative_discrepancy" in capsys.readouterr().out


def test_a_report_lies_in_the_folder_of_its_run_or_elsewhere(run: str, tmp_path: Path) -> None:
    assert main(["report", run]) == 0
    assert "<!doctype html>" in (tmp_path / "run" / "report.html").read_text()
    assert main(["report", run, "--out", str(tmp_path / "mine.html"), "--case", "one"]) == 0
    assert "case-two" not in (tmp_path / "mine.html").read_text()


def test_what_a_run_rests_on_is_cited(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite", run]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("@software{gradsuite,")
    assert "abadi2016deep" in shown
    assert "% half-mean: caffe euclidean_loss_layer.cpp" in shown


@pytest.mark.parametrize("kind", ["discrepancy", "scale", "trajectory", "noise-scale"])
def test_each_figure_is_drawn_from_a_run(run: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["plot", run, "--kind", kind, "--width", "one", "--out", str(tmp_path / "f.pdf")]) == 0
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


def test_weights_are_drawn_from_a_claim_or_from_what_recover_printed(run: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    claim = row("claim", case="claims/x", numbers={"weights": [0.0, 1.0]})
    claims = str(write(tmp_path / "claims", [*rows(), claim]))
    assert main(["plot", claims, "--kind", "weights", "--out", str(tmp_path / "a.svg")]) == 0
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"weights": [0.0, 1.0], "samples": 2}))
    assert main(["plot", str(card), "--kind", "weights", "--out", str(tmp_path / "b.svg")]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "nowhere"], "nowhere"),
        (["table", "RUN", "--columns", "scales"], "did you mean 'scale'"),
        (["table", "RUN", "--case", "ones"], "did you mean 'one'"),
        (["table", "RUN", "--out", "/dev/null/x"], "cannot write /dev/null/x"),
        (["report", "RUN", "--out", "/dev/null/x"], "cannot write /dev/null/x"),
        (["plot", "RUN", "--kind", "scale", "--out", "f.jpg"], "ends in .pdf, .svg, .png"),
        (["plot", "RUN", "--kind", "weights", "--out", "f.png"], "0 sets of recovered weights"),
        (["plot", "x.json", "--kind", "weights", "--out", "f.png"], "cannot be read as JSON"),
        (["cite", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_gets_one_line_and_2(
    run: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert main([run if argument == "RUN" else argument for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [["table"], ["report"], ["cite"], ["diff", "RUN"]])
def test_neither_torch_nor_pandas_is_needed(run: str, command: list[str]) -> None:
    code = (
        "import sys\nfrom suite.cli.main import main\nmain(sys.argv[1:])\n"
        "heavy = {'torch', 'pandas', 'opacus', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *(run if word == "RUN" else word for word in command), run],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_matplotlib_one_line_says_what_to_install(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", run, "--kind", "scale", "--out", str(tmp_path / "f.svg")]) == 2
    assert "pip install matplotlib, or pip install '.[plot]'" in capsys.readouterr().err


def test_the_weights_of_a_thread_are_measured_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "w.svg"
    assert main(["plot", "claims/reduction-methods", "--kind", "weights", "--out", str(out)]) == 0
    assert "<svg" in out.read_text()


def test_a_run_without_the_measurement_has_no_such_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    bare = str(write(tmp_path / "bare", [one for one in rows() if one["kind"] in BARE]))
    assert main(["plot", bare, "--kind", "trajectory", "--out", str(tmp_path / "f.svg")]) == 2
    assert "the run has nothing for --kind trajectory: it was --quick" in capsys.readouterr().err


BARE = ("environment", "discrepancy")
