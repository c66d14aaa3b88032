"""Laws of other packages' optimizers: both sides trained with the published update, written small."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch

from suite.equivalence import LAWS, equivalent, law
from suite.equivalence.law import Law
from suite.equivalence.state import convert_state
from suite.equivalence.trajectory import Training, check_training, distance
from suite.errors import UsageError
from tests.equivalence.problems import flat, network, squares
from tests.equivalence.published import PUBLISHED

OTHERS = [rule.name for rule in LAWS if rule.home]

# Settings under which every hyperparameter that goes with the scale is heard.
LOUD_IN_PACKAGES: dict[str, dict[str, Any]] = {
    "lion_pytorch:Lion": {"lr": 0.01, "weight_decay": 0.3},
    "pytorch_optimizer:Lamb": {"lr": 0.002, "eps": 0.0, "pre_norm": True, "max_grad_norm": 8.0},
    "apex:FusedLAMB": {
        "lr": 0.02,
        "eps": 0.1,
        "weight_decay": 0.3,
        "adam_w_mode": False,
        "max_grad_norm": 0.5,
    },
    "pytorch_optimizer:LARS": {"lr": 1.0, "trust_coefficient": 0.02, "weight_decay": 0.3},
    "pytorch_optimizer:Shampoo": {"lr": 0.05, "matrix_eps": 0.1, "weight_decay": 0.3},
    "pytorch_optimizer:SOAP": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3},
    "sophia:SophiaG": {"lr": 0.02, "rho": 0.5, "weight_decay": 0.3},
    "prodigyopt:Prodigy": {"d0": 0.01, "eps": 1.0, "weight_decay": 0.3, "decouple": False},
    "schedulefree:AdamWScheduleFree": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3},
    "schedulefree:SGDScheduleFree": {"lr": 0.01, "weight_decay": 0.3},
    "bitsandbytes:Adam8bit": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3, "min_8bit_size": 1},
    "bitsandbytes:AdamW8bit": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3, "min_8bit_size": 1},
    "apex:FusedAdam": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3, "adam_w_mode": False},
    "deepspeed:FusedAdam": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3, "adam_w_mode": False},
    "transformers:Adafactor": {"lr": 0.05, "eps": (0.1, 1e-3), "relative_step": False, "weight_decay": 0.3},
}
BY_CURVATURE = "pytorch_optimizer:SophiaH"
MATRICES = ("pytorch_optimizer:LARS", "pytorch_optimizer:SOAP")


def model_of(name: str) -> torch.nn.Module:
    return flat(0) if name in MATRICES else network(0)


def parted(cls: type, name: str, scale: Any, *, steps: int = 15, **kept: Any) -> float:
    """How far both sides part; `kept` are hyperparameters that are left as they were."""
    given = LOUD_IN_PACKAGES[name]
    new = equivalent(name, given, scale=scale).hyperparameters | kept
    a = Training(model_of(name), squares(0), cls, given)
    b = Training(model_of(name), squares(0, scale), cls, new)
    return distance([a.step(k) for k in range(steps)], [b.step(k) for k in range(steps)])


def unheard(cls: type, name: str, scale: float) -> list[str]:
    """The hyperparameters whose exponents could as well be zero."""
    given = LOUD_IN_PACKAGES[name]
    changes = equivalent(name, given, scale=scale).changes
    changed = [change for change in changes if change.new != change.old]
    return [c.name for c in changed if parted(cls, name, scale, **{c.name: c.old}) < 1e-4]


def by_curvature(cls: type, scale: float, **kept: Any) -> list[torch.Tensor]:
    """A bowl whose curvature is known: the weights after each step."""
    given = {"lr": 0.3, "p": 0.2, "eps": 2.5, "weight_decay": 0.3, "weight_decouple": False}
    new = equivalent(BY_CURVATURE, given, scale=scale).hyperparameters | kept
    weights = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    slopes = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    optimizer = cls([weights], **new)
    found = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = 0.5 * scale * (slopes * (weights - 0.5).square()).sum()
        loss.backward()
        return loss.detach()

    for _ in range(8):
        optimizer.step(closure, hessian=[scale * slopes])
        found.append(weights.detach().clone())
    return found


def test_every_law_of_another_package_has_its_published_update() -> None:
    assert set(OTHERS) == set(PUBLISHED) == {*LOUD_IN_PACKAGES, BY_CURVATURE}


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_is_loud_for_all_that_goes_with_the_scale(name: str) -> None:
    rule: Law = law(name)
    scaled = {k for k, e in rule.hyperparameters.items() if e.exponent not in (0, (0, 0))}
    given = LOUD_IN_PACKAGES.get(name, {"eps", "weight_decay"})
    assert scaled <= {*given, "max_grad_norm"}


@pytest.mark.parametrize("scale", [2.0**-5, 2.0**7])
@pytest.mark.parametrize("name", LOUD_IN_PACKAGES)
def test_a_power_of_two_leaves_the_trajectory(name: str, scale: float) -> None:
    assert parted(PUBLISHED[name], name, scale) <= 1e-9  # roots of matrices and 1e-15 round


@pytest.mark.parametrize(
    "name", [name for name in LOUD_IN_PACKAGES if "8bit" not in name and "SOAP" not in name]
)
def test_any_scale_leaves_it_within_rounding(name: str) -> None:
    assert parted(PUBLISHED[name], name, Fraction(1, 10)) <= 1e-8


@pytest.mark.parametrize("name", LOUD_IN_PACKAGES)
def test_each_hyperparameter_that_is_changed_counts(name: str) -> None:
    assert unheard(PUBLISHED[name], name, 2.0**5) == []


def test_curvature_goes_with_the_gradient() -> None:
    cls = PUBLISHED[BY_CURVATURE]
    reference = by_curvature(cls, 1.0)
    assert distance(reference, by_curvature(cls, 32.0)) == 0.0
    assert distance(reference, by_curvature(cls, 32.0, eps=2.5)) > 1e-3
    assert distance(reference, by_curvature(cls, 32.0, weight_decay=0.3)) > 1e-3


def test_vectors_of_lars_are_said_to_need_a_rate_of_their_own() -> None:
    given = LOUD_IN_PACKAGES["pytorch_optimizer:LARS"]
    result = equivalent("pytorch_optimizer:LARS", given, scale=4.0)
    assert not result.exact
    assert "give them a group of their own with lr/s" in result.reason
    a = Training(network(0), squares(0), PUBLISHED["pytorch_optimizer:LARS"], given | {"lr": 0.01})
    b = Training(network(0), squares(0, 4.0), PUBLISHED["pytorch_optimizer:LARS"], result.hyperparameters)
    assert distance([a.step(0)], [b.step(0)]) > 1e-3


@pytest.mark.parametrize(
    ("name", "given", "scale", "why"),
    [
        ("Lamb", {}, 4.0, "eps stands in two places"),
        ("Shampoo", {"momentum": 0.9}, 4.0, "no constant law with momentum"),
        ("AdamW8bit", {}, 3.0, "kept in 8 bits"),
        ("SOAP", {}, 3.0, "rounding chooses the rest of its eigenvectors"),
    ],
)
def test_what_is_not_exact_says_why(name: str, given: dict[str, Any], scale: float, why: str) -> None:
    assert why in equivalent(name, given, scale=scale).reason
    assert equivalent(name, given, scale=1).exact
    quiet = {"Lamb": {"eps": 0.0}, "Shampoo": {"momentum": 0.0}, "AdamW8bit": {}, "SOAP": {}}[name]
    assert equivalent(name, quiet, scale=4.0).exact


def test_a_class_alone_means_the_one_package_that_has_it() -> None:
    assert law("Lion") is law("lion_pytorch:Lion")
    assert law("Adafactor").home == ""
    assert (
        equivalent("Lion", {"lr": 1e-4}, scale=2.0).python
        == "lion_pytorch.Lion(model.parameters(), lr=0.0001)"
    )
    with pytest.raises(UsageError, match="did you mean 'apex:FusedAdam' or 'deepspeed:FusedAdam'"):
        law("FusedAdam")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("adamw", "AdamW"),
        ("ADAM", "Adam"),
        ("lion", "lion_pytorch:Lion"),
        ("momentum", "SGD"),
        ("adamw_torch_fused", "AdamW"),
        ("paged_adamw_8bit", "bitsandbytes:AdamW8bit"),
        ("schedule_free_adamw", "schedulefree:AdamWScheduleFree"),
        ("Sophia", "sophia:SophiaG"),
        ("lamb", "pytorch_optimizer:Lamb"),
    ],
)
def test_a_name_suggests_what_is_near_in_meaning(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"no optimizer is named '{name}': did you mean '{meant}'") as error:
        law(name)
    assert "Muon" not in str(error.value)


def test_a_class_of_another_package_is_known_by_its_home() -> None:
    theirs = type("Lion", (torch.optim.Optimizer,), {"__module__": "lion_pytorch.lion_pytorch"})
    assert law(theirs) is law("Lion")
    with pytest.raises(UsageError, match="no law is known for elsewhere"):
        law(type("Lion", (torch.optim.Optimizer,), {"__module__": "elsewhere"}))


def test_a_package_that_is_not_installed_is_named() -> None:
    result = equivalent("sophia:SophiaG", {}, scale=2.0)
    with pytest.raises(UsageError, match=r"SophiaG cannot be trained here, .*: install the file sophia\.py"):
        check_training(network(0), squares(0), squares(0, 2.0), result, steps=1)


def test_a_run_that_is_under_way_is_not_converted_where_a_package_keeps_sums_of_its_own() -> None:
    theirs = type("Prodigy", (PUBLISHED["prodigyopt:Prodigy"],), {"__module__": "prodigyopt.prodigy"})
    optimizer = theirs(network(0).parameters())
    convert_state(optimizer, 2.0)
    optimizer.state[optimizer.param_groups[0]["params"][0]]["s"] = torch.ones(2)
    with pytest.raises(UsageError, match="a run of prodigyopt:Prodigy that is under way is not converted"):
        convert_state(optimizer, 2.0)


def test_all_of_torch_is_torchs_alone() -> None:
    assert not {rule.name for rule in LAWS.match(["*"])} & set(OTHERS)
    assert [rule.name for rule in LAWS.match(["schedulefree:*"])] == [
        n for n in OTHERS if "schedulefree" in n
    ]
