from __future__ import annotations

import json

import pytest

from suite.cli.main import main
from suite.papers.library import papers


def run(capsys, *arguments):
    code = main(["lr", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def answer(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_dqn_says_what_is_exact_and_what_is_not(capsys):
    code, out, _ = run(capsys, "--paper", "dqn-2015", "--to", "mean")
    assert code == 0
    assert "eps=9.765625e-06" in out  # 0.01/32², in the paper's own words
    assert "NOT the same optimizer" in out
    assert "eps=0.003125, centered=True" in out  # the nearest in PyTorch: √0.01/32
    assert "29.3 %" in out
    plain = answer(capsys, "--paper", "dqn-2015", "--to", "mean")
    assert plain["exact"] is False
    assert plain["own_words"]["eps"] == 0.01 / 32**2
    assert plain["hyperparameters"]["eps"] == 0.1 / 32
    assert plain["paper"]["verified"] == "code read"


def test_the_clip_threshold_of_a_card_is_converted_as_it_clips(capsys):
    found = answer(capsys, "--paper", "olmo2-2024", "--to", "mean", "--elements", "4096")
    assert (found["from"], found["scale"], found["max_norm"], found["clip"]) == (
        "olmo2-2024",
        4096,
        4096,
        "norm",
    )
    entries = answer(capsys, "--paper", "graphsage-2017", "--scale", "1/2")
    assert (entries["max_norm"], entries["clip"]) == (2.5, "value")
    own = answer(capsys, "--paper", "olmo2-2024", "--scale", "2", "--max-norm", "3")
    assert own["max_norm"] == 6
    own = answer(capsys, "--paper", "glove-2014", "--to", "mean", "--max-norm", "5")
    assert (own["max_norm"], own["clip"]) == (10, "value")
    own = answer(capsys, "--paper", "glove-2014", "--to", "mean", "--max-norm", "5", "--clip", "norm")
    assert (own["max_norm"], own["clip"]) == (10, "norm")


def test_parts_of_a_batch_that_are_clipped_are_no_exact_answer(capsys):
    given = ("--paper", "bert-2018", "--to", "token-mean", "--elements", "64", "--ranks", "16")
    code, out, _ = run(capsys, *given)
    assert code == 0
    assert "it goes with parts of a batch: not converted" in out
    assert "Within PyTorch, and without the clipping, which stays a step of its own: " in out
    assert answer(capsys, *given)["exact"] is False


def test_the_weights_of_a_card_are_converted_where_sizes_tell_their_scale(capsys):
    sizes = ("--elements", "1000", "--batch-size", "64")
    found = answer(capsys, "--paper", "modded-nanogpt", "--to", "token-mean", *sizes)
    assert found["scale"] == 1 / 8000  # 8 ranks are averaged, and nothing is divided by the tokens
    given = ("--paper", "yolov5-2020", "--to", "mean")
    assert (
        "of terms of its loss: the sizes of a batch do not tell their scale; give --scale"
        in run(capsys, *given)[2]
    )
    given = ("--paper", "modded-nanogpt", "--to", "token-mean", *sizes, "--check")
    assert "--check has no loop for the weights of modded-nanogpt" in run(capsys, *given)[2]


def test_groups_are_given_with_their_new_values(capsys):
    _, out, _ = run(capsys, "--paper", "retinanet-2017:detectron", "--scale", "1/2")
    assert "Groups of parameters with values of their own:\n  biases: lr=0.04, weight_decay=0.0" in out
    _, out, _ = run(capsys, "--paper", "gcn-2017", "--scale", "2")
    assert "  the first layer: weight_decay=0.001" in out
    _, out, _ = run(capsys, "--paper", "open-clip-2021", "--scale", "2")
    assert "of W = 2 ranks: eps=4e-06, since their gradient is 0.5 times that of the loss" in out
    _, out, _ = run(capsys, "--paper", "word2vec-cbow-2013", "--scale", "1")
    assert "cw: lr=0.2, since their gradient is 4 times that of the loss" in out  # SGD is linear in it
    assert "  cannot be matched: The context vectors' gradient is cw times the true one" in out


def test_a_hyperparameter_that_is_given_as_an_option_is_answered_with_how_it_is_given(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["lr", "--lr", "1e-3"])
    said = capsys.readouterr().err
    assert said.startswith("gradsuite lr: no option is named '--lr': ")
    assert "a hyperparameter is given as --set " in said
    assert said.count("\n") == 1


def test_a_dialect_is_translated_and_converted_at_once(capsys):
    plain = answer(
        capsys, "--dialect", "keras", "--optimizer", "Adam", "--set", "lr=1e-3",
        "--from", "sum", "--to", "mean", "--batch-size", "32",
    )  # fmt: skip
    assert plain["exact"] is True
    assert plain["hyperparameters"]["eps"] == 1e-7 / 32
    assert "1e-07/√(1 − 0.999^t)" in plain["translation"]["schedule"]["eps"]["formula"]
    assert plain["own_words"]["epsilon"] == 1e-7 / 32


def test_a_dialect_alone_is_translated_and_nothing_else(capsys):
    plain = answer(capsys, "--dialect", "keras", "--optimizer", "Adagrad")
    expected = {"lr": 0.001, "initial_accumulator_value": 0.1 + 1e-7, "eps": 0.0}
    assert plain["hyperparameters"] == pytest.approx(expected)
    assert plain["scale"] == 1.0


def test_scikit_learns_alpha_needs_the_batch_size(capsys):
    code, _, err = run(capsys, "--dialect", "sklearn", "--optimizer", "sgd")
    assert code == 2
    assert "give batch_size" in err
    plain = answer(capsys, "--dialect", "sklearn", "--optimizer", "sgd", "--batch-size", "200")
    assert plain["hyperparameters"]["weight_decay"] == pytest.approx(1e-4 / 200)


def test_pytorchs_own_words_are_answered_as_before(capsys):
    code, out, _ = run(
        capsys, "--optimizer", "SGD", "--set", "lr=0.1", "--from", "sum", "--to", "mean", "--batch-size", "8"
    )
    assert code == 0
    assert "same optimizer" not in out
    assert "Within PyTorch" not in out


def test_a_cards_hyperparameters_can_be_replaced_in_either_spelling(capsys):
    for setting in ("lr=0.5", "learning_rate=0.5"):
        plain = answer(capsys, "--paper", "dopamine-dqn", "--set", setting)
        assert plain["hyperparameters"]["lr"] == 0.5


TRANSLATED = [p.name for p in papers if p.has_rate and p.optimizer != "LARS"]


@pytest.mark.parametrize("name", TRANSLATED)
def test_every_card_with_a_rate_can_be_typed_into_pytorch(capsys, name):
    code, out, err = run(capsys, "--paper", name)
    assert code == 0, err
    assert "torch.optim." in out
    assert papers[name].title in out


def test_a_card_without_a_rate_asks_for_it(capsys):
    code, _, err = run(capsys, "--paper", "transformer-2017")
    assert code == 2
    assert "add --set lr=" in err
    assert run(capsys, "--paper", "transformer-2017", "--set", "lr=7e-4")[0] == 0


def test_what_pytorch_does_not_have_is_refused(capsys):
    code, _, err = run(capsys, "--paper", "simclr-2020")
    assert code == 2
    assert "torch.optim has no LARS" in err


@pytest.mark.parametrize(
    ("name", "target"),
    [("goyal-2017", "sum"), ("alexnet-2012", "sum"), ("grpo-2024", "constant-normaliser"),
     ("dp-sgd-2016", "mean"), ("bert-2018", "mean"), ("retinanet-2017", "mean")],
)  # fmt: skip
def test_what_a_card_does_not_know_can_be_given(capsys, name, target):
    sizes = {
        "grpo-2024": ["--elements", "512"],
        "dp-sgd-2016": ["--batch-size", "600"],
        "bert-2018": ["--ranks", "16"],
        "retinanet-2017": ["--elements", "20"],
    }
    code, out, err = run(capsys, "--paper", name, "--to", target, *sizes.get(name, []))
    assert code == 0, err
    assert f"to {target}" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--paper", "dqn-2016"], "did you mean 'dqn-2015'"),
        (["--paper", "DQN"], "did you mean 'dqn-2015' or 'dqn-baselines' or 'dopamine-dqn'?"),
        (["--paper", "gspo-2025", "--set", "lr=1", "--to", "mean"], "not know the batch size and the"),
        (
            ["--optimizer", "SGD", "--from", "gcn-2017", "--to", "sum", "--batch-size", "4"],
            "--from gcn-2017 is a paper's card: give --paper gcn-2017 in its place",
        ),
        (
            ["--optimizer", "SGD", "--from", "sum", "--to", "dqn-2015", "--batch-size", "4"],
            "--to dqn-2015 is a paper's card: name a convention",
        ),
        (["--paper", "dqn-2015", "--optimizer", "SGD"], "leave out --optimizer"),
        (["--paper", "dqn-2015", "--dialect", "keras"], "leave out --dialect"),
        (["--paper", "dp-sgd-2016", "--to", "mean"], "give --batch-size"),
        (["--paper", "retinanet-2017", "--to", "mean"], "give --elements"),
        (["--paper", "bert-2018", "--to", "mean"], "--ranks"),
        (["--dialect", "kers", "--optimizer", "SGD"], "did you mean 'keras'"),
        (["--dialect", "keras", "--optimizer", "Ftrl"], "torch.optim has no such optimizer"),
        (["--dialect", "keras", "--optimizer", "SGD", "--set", "lr=fast"], "a finite number is needed"),
        (["--dialect", "keras"], "--optimizer is missing"),
        (["--optimizer", "SGD", "--rule", "linear"], "needs --batch-size and --to-batch-size"),
        (["--optimizer", "SGD", "--to-batch-size", "8", "--scale", "1"], "go with --rule"),
        (
            ["--optimizer", "SGD", "--rule", "linaer", "--batch-size", "1", "--to-batch-size", "2"],
            "did you mean 'linear'",
        ),
        (
            ["--optimizer", "SGD", "--rule", "adam-square-root", "--batch-size", "1", "--to-batch-size", "2"],
            "not for SGD",
        ),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(capsys, arguments, says):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_rule_gives_its_hyperparameters_and_is_called_a_heuristic(capsys):
    arguments = ["--optimizer", "Adam", "--set", "lr=1e-3", "--batch-size", "256", "--to-batch-size", "1024"]
    code, out, _ = run(capsys, *arguments, "--rule", "adam-square-root")
    assert code == 0
    assert "heuristics" in out
    assert "lr=0.002, betas=(0.6, 0.996), eps=5e-09" in out
    plain = answer(capsys, *arguments, "--rule", "*")
    rows = {row["rule"]: row for row in plain["rules"]}
    assert rows["linear"]["hyperparameters"]["lr"] == pytest.approx(4e-3)
    assert "needs the gradient noise scale" in rows["noise-scale"]["reason"]
    plain = answer(capsys, *arguments, "--rule", "noise-scale", "--noise-scale", "1024")
    assert plain["rules"][0]["hyperparameters"]["lr"] == pytest.approx(1e-3 * (1 / 2) / (1 / 5))


def test_a_given_batch_size_takes_the_place_of_the_cards(capsys):
    options = ["--paper", "dqn-2015", "--to", "mean"]
    assert "0.01/" not in run(capsys, *options, "--batch-size", "64")[1]
    assert answer(capsys, *options, "--batch-size", "64")["own_words"]["eps"] == 0.01 / 64**2


def test_a_source_that_is_given_takes_the_place_of_the_cards(capsys):
    plain = answer(capsys, "--paper", "dqn-2015", "--from", "mean", "--to", "mean")
    assert plain["own_words"]["eps"] == 0.01


def test_a_training_check_says_which_way_was_measured(capsys):
    code, out, _ = run(
        capsys, "--dialect", "keras", "--optimizer", "Adam", "--set", "lr=1e-3",
        "--from", "sum", "--to", "mean", "--batch-size", "8", "--check", "--steps", "2",
    )  # fmt: skip
    assert code == 0
    assert "is tested against keras's formulas, step by step" in out


def test_a_paper_in_pytorchs_words_has_no_others(capsys):
    plain = answer(capsys, "--paper", "goyal-2017", "--to", "sum")
    assert plain["own_words"] is None
    assert plain["paper"]


def test_rules_that_do_not_apply_say_why_among_the_others(capsys):
    options = ["--optimizer", "SGD", "--set", "lr=0.1", "--rule", "*", "--batch-size", "8"]
    code, out, _ = run(capsys, *options, "--to-batch-size", "32")
    assert code == 0
    assert ": does not apply: " in out


def test_a_noise_scale_that_is_not_positive_is_bad_input(capsys):
    options = ["--optimizer", "SGD", "--set", "lr=0.1", "--rule", "*", "--batch-size", "8"]
    code, _, err = run(capsys, *options, "--to-batch-size", "32", "--noise-scale", "0")
    assert (code, "--noise-scale is 0" in err) == (2, True)
