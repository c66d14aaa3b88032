from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from suite.cli.main import main
from suite.equivalence import LAWS

ADAM = [
    *("lr", "--from", "sum", "--to", "mean", "--batch-size", "32", "--optimizer", "Adam"),
    *("--set", "lr=1e-3", "--set", "eps=1e-8", "--set", "weight_decay=0.01"),
]


def answer(capsys, *arguments):
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *arguments):
    try:
        code = main(["lr", *arguments])
    except SystemExit as stop:  # argparse
        code = stop.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    return said.err


def test_old_and_new_stand_side_by_side_with_why_and_a_line_to_paste(capsys):
    assert main(ADAM) == 0
    said = capsys.readouterr().out
    assert "s = 1/32 = 0.03125 times" in said
    for row in (
        "eps               1e-08  3.125e-10  s         added to the root of the squared gradients",
        "lr                0.001  0.001      1         the step is the gradient divided",
        "weight_decay      0.01   0.0003125  s         weight_decay · weights is added",
    ):
        assert row in said
    assert "Exact, bit for bit: the scale is a power of two." in said
    line = "torch.optim.Adam(model.parameters(), lr=0.001, eps=3.125e-10, weight_decay=0.0003125)"
    assert line in said.splitlines()


def test_json_is_for_machines(capsys):
    said = answer(capsys, *ADAM, "--json")
    assert said["hyperparameters"] == {"lr": 1e-3, "eps": 3.125e-10, "weight_decay": 0.0003125}
    assert (said["exact"], said["scale"], said["training_check"]) == (True, 0.03125, None)
    assert [change["exponent"] for change in said["changes"]] == [0, 1, 1]


@pytest.mark.parametrize("text", ["1/32", "0.03125", "3.125e-2"])
def test_a_scale_may_be_given_instead_of_two_conventions(capsys, text):
    said = answer(capsys, "lr", "--scale", text, "--optimizer", "SGD", "--set", "lr=0.5", "--json")
    assert said["hyperparameters"] == {"lr": 16.0}


def test_tuples_flags_and_words_are_understood(capsys):
    said = answer(
        capsys, "lr", "--scale", "2", "--optimizer", "Adam", "--json",
        *("--set", "betas=0.8,0.9", "--set", "amsgrad=true", "--set", "fused=none"),
    )  # fmt: skip
    assert said["given"] == {"betas": [0.8, 0.9], "amsgrad": True, "fused": None}


def test_what_comes_with_it_is_said_too(capsys):
    assert main(["lr", "--scale", "1/4", "--optimizer", "RAdam", "--max-norm", "8"]) == 0
    said = capsys.readouterr().out
    assert "Not exact: no constant law: the first 5 steps" in said
    assert "steps 1 to 5: lr=0.004, eps=2.5e-09" in said
    assert "torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)" in said
    assert "if a penalty is a term of the loss, multiply its coefficient by 1/4 = 0.25" in said


def test_it_is_checked_by_training_on_real_data_bit_for_bit_for_a_power_of_two(capsys):
    assert main([*ADAM, "--check"]) == 0
    said = capsys.readouterr().out
    assert "Measured: 100 steps on scikit-learn's digits in float64" in said
    assert "\n  0 with these hyperparameters, 0.2" in said


@pytest.mark.parametrize(
    "optimizer", ["SGD", "RMSprop", "Adadelta", "ASGD", "Adagrad", "AdamW", "Adamax", "NAdam"]
)
def test_it_is_checked_to_be_within_1e_10_for_any_batch_size(capsys, optimizer):
    said = answer(
        capsys, "lr", "--from", "sum", "--to", "mean", "--batch-size", "10",
        *("--optimizer", optimizer, "--check", "--json"),
    )  # fmt: skip
    assert said["exact"]
    assert said["training_check"]["steps"] == 100
    assert said["training_check"]["converted"] <= 1e-10 < said["training_check"]["unchanged"]


def test_rprop_looks_at_signs_alone_so_that_nothing_is_to_be_changed(capsys):
    said = answer(
        capsys, "lr", "--from", "sum", "--to", "mean", "--batch-size", "10",
        *("--optimizer", "Rprop", "--set", "lr=0.02", "--check", "--json"),
    )  # fmt: skip
    assert said["exact"]
    assert said["hyperparameters"] == said["given"] == {"lr": 0.02}
    assert (
        said["training_check"]["steps"],
        said["training_check"]["converted"],
        said["training_check"]["unchanged"],
    ) == (100, 0, 0)


def test_conventions_with_micro_batches_are_checked_by_their_literal_loops(capsys):
    said = answer(
        capsys, "lr", "--from", "element-mean", "--to", "sum-of-microbatch-means", "--check", "--json",
        *("--batch-size", "8", "--elements", "3", "--micro-batches", "4", "--steps", "20"),
        *("--optimizer", "SGD", "--set", "lr=0.1", "--set", "momentum=0.9"),
    )  # fmt: skip
    assert said["hyperparameters"]["lr"] == 0.025
    assert said["training_check"]["converted"] <= 1e-10 < 1e-3 < said["training_check"]["unchanged"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--optimizer is missing: name a class of torch.optim"),
        (["--optimizer", "SGD"], "give two conventions (--from, --to and --batch-size), or --scale"),
        (["--scale", "2"], "--optimizer is missing"),
        (["--scale", "2", "--optimizer", "Adamm"], "did you mean 'Adam'"),
        (["--scale", "2", "--optimizer", "Frobnicate"], "laws exist for Adadelta, Adafactor"),
        (["--scale", "2", "--optimizer", "SGD", "--set", "lr=fast"], "must be a finite number"),
        (["--scale", "2", "--optimizer", "SGD", "--set", "lr=nan"], "must be a finite number"),
        (["--scale", "2", "--optimizer", "SGD", "--set", "eps=1"], "it has lr, momentum, dampening"),
        (["--scale", "2", "--optimizer", "SGD", "--set", "lr"], "NAME=VALUE is needed"),
        (["--scale", "2", "--optimizer", "SGD", "--set", "lr=1", "--set", "lr=2"], "given twice"),
        (["--scale", "0", "--optimizer", "SGD"], "greater than 0 is needed"),
        (["--scale", "-1", "--optimizer", "SGD"], "set the optimizer's maximize"),
        (["--scale", "inf", "--optimizer", "SGD"], "greater than 0 is needed"),
        (["--scale", "nan", "--optimizer", "SGD"], "greater than 0 is needed"),
        (["--scale", "1/0", "--optimizer", "SGD"], "such as 32 or 1/32"),
        (["--scale", "big", "--optimizer", "SGD"], "such as 32 or 1/32"),
        (["--scale", "2", "--max-norm", "0", "--optimizer", "SGD"], "max_norm is 0.0"),
        (["--scale", "2", "--from", "sum", "--optimizer", "SGD"], "or --scale alone"),
        (["--from", "sum", "--to", "mean", "--optimizer", "SGD"], "give all three"),
        (["--from", "sun", "--to", "mean", "--batch-size", "2", "--optimizer", "SGD"], "'sum'"),
        (["--from", "sum", "--to", "mean", "--batch-size", "0", "--optimizer", "SGD"], "at least 1"),
        (["--from", "sum", "--to", "mean", "--batch-size", "x", "--optimizer", "SGD"], "--help"),
        (["--scale", "2", "--optimizer", "SparseAdam", "--check"], "take Adam, which has the same law"),
        (["--scale", "2", "--optimizer", "SGD", "--check", "--steps", "0"], "--steps is 0"),
    ],
)  # fmt: skip
def test_wrong_input_gets_one_clear_line(capsys, arguments, says):
    assert says in refusal(capsys, *arguments)


def test_all_laws_can_be_read(capsys):
    assert main(["lr", "--laws"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in LAWS.names)
    said = answer(capsys, "lr", "--laws", "--json")
    assert [law["optimizer"] for law in said] == LAWS.names
    sgd = next(law for law in said if law["optimizer"] == "SGD")
    assert sgd["hyperparameters"]["lr"]["exponent"] == -1
    assert sgd["state"] == {"momentum_buffer": 1}


@pytest.mark.parametrize("arguments", [ADAM, ["lr", "--laws"], [*ADAM, "--json"]])
def test_it_answers_without_torch(arguments):
    code = (
        "import sys; from suite.cli.main import main; code = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_scale_alone_is_checked_on_scaled_losses(capsys):
    assert (
        main(["lr", "--optimizer", "SGD", "--set", "lr=0.1", "--scale", "8", "--check", "--steps", "3"]) == 0
    )
    assert "Measured: 3 steps on scikit-learn's digits in float64" in capsys.readouterr().out


def test_a_training_check_measures_the_schedule_where_there_is_one(capsys):
    options = [
        "--optimizer",
        "RAdam",
        "--set",
        "lr=0.01",
        "--from",
        "sum",
        "--to",
        "mean",
        "--batch-size",
        "8",
    ]
    assert main(["lr", *options, "--check", "--steps", "8"]) == 0
    assert "with the schedule" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scale", "shown"), [("1/32", "1/32 = 0.03125"), ("32", "32"), ("2.5e-300", "2.5e-300")]
)
def test_a_scale_is_shown_as_a_fraction_as_long_as_a_person_reads_it(capsys, scale, shown):
    assert main(["lr", "--optimizer", "SGD", "--scale", scale]) == 0
    assert f"the gradient becomes s = {shown} times what it was" in capsys.readouterr().out


OWN_LAW = """
import gradsuite, torch

class Afternoon(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)

gradsuite.register_law(Afternoon, lr=-1)
"""


def test_a_file_registers_laws_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, empty = tmp_path / "own_laws.py", tmp_path / "no_laws.py"
    path.write_text(OWN_LAW)
    empty.write_text("answer = 42\n")
    try:
        assert main(["lr", "--register", str(path), "--optimizer", "Afternoon", "--set", "lr=0.5",
                     "--scale", "1/4", "--check", "--steps", "5"]) == 0  # fmt: skip
        assert "Afternoon(model.parameters(), lr=2.0)" in capsys.readouterr().out
        assert main(["lr", "--laws"]) == 0
        assert "Afternoon" in capsys.readouterr().out
        assert main(["lr", "--register", str(empty), "--laws"]) == 2
        assert "registers no law" in capsys.readouterr().err
    finally:
        LAWS.remove("Afternoon")
