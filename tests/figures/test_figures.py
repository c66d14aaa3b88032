"""Every kind of figure, in every format and width."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.errors import UsageError
from suite.report.heatmap import heatmap
from suite.report.run_result import RunResult
from suite.report.series import curves, noise_scales, paths
from tests.report.rows import HOSTILE, discrepancy, rows

pytest.importorskip("matplotlib", reason="needs pip install 'gradsuite[plot]'")

from suite.figures import discrepancy as heat
from suite.figures import noise, scale, style, trajectory, weights

REPORT = RunResult(rows())
MANY = RunResult(
    [*rows(), *(discrepancy("one", n, "0", f"own-{k}", scale=1.5**k) for k in range(12) for n in (2, 8))]
)
RECOVERED = weights.of_card({"weights": [0.0, 0.5, 0.25, None], "samples": 4})
KINDS: dict[str, Callable[[Any], None]] = {
    "discrepancy": lambda figure: heat.draw(figure, heatmap(REPORT)),
    "discrepancy of many": lambda figure: heat.draw(figure, heatmap(MANY)),
    "scale": lambda figure: scale.draw(figure, curves(REPORT), "mean", 2),
    "scale of many": lambda figure: scale.draw(figure, curves(MANY), "mean", 2),
    "trajectory": lambda figure: trajectory.draw(figure, paths(REPORT)),
    "noise-scale": lambda figure: noise.draw(figure, noise_scales(REPORT)),
    "weights": lambda figure: weights.draw(figure, RECOVERED),
}


@pytest.mark.parametrize("width", style.PAGE_WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_as_wide_as_its_columns_and_fits_a_page(tmp_path: Path, kind: str, width: str) -> None:
    style.save(tmp_path / "f.svg", width, KINDS[kind])
    found = (tmp_path / "f.svg").read_text()
    wide, high = (float(re.search(rf'{side}="([\d.]+)pt"', found)[1]) / 72 for side in ("width", "height"))
    assert wide == pytest.approx(style.PAGE_WIDTHS[width], abs=0.01)
    assert 0.5 < high < 10


@pytest.mark.parametrize("width", style.PAGE_WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_leaves_the_figure(kind: str, width: str) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(style._SETTINGS):
        figure = Figure(figsize=(style.PAGE_WIDTHS[width], 3), layout="constrained")
        KINDS[kind](figure)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn, room = figure.get_tightbbox(canvas.get_renderer()), 0.05  # inches
    wide, high = figure.get_size_inches()
    assert min(drawn.x0, drawn.y0) > -room
    assert drawn.x1 < wide + room
    assert drawn.y1 < high + room


@pytest.mark.parametrize(("ending", "magic"), [(".pdf", b"%PDF"), (".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_the_same_numbers_are_the_same_file(tmp_path: Path, ending: str, magic: bytes) -> None:
    files = [tmp_path / f"{k}{ending}" for k in "ab"]
    for file in files:
        style.save(file, "one", KINDS["weights"])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes().startswith(magic)


def test_vector_figures_hold_no_pixels(tmp_path: Path) -> None:
    style.save(tmp_path / "f.svg", "two", KINDS["discrepancy"])
    # the colour bars alone are gradients of pixels
    assert (tmp_path / "f.svg").read_text().count("<image") <= 2


def test_colours_differ_in_grey() -> None:
    def grey(colour: str) -> float:
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    dashes = [style.DASHES[k % len(style.DASHES)] for k in range(len(style.COLOURS))]
    signs = set(zip(map(round, map(grey, style.COLOURS)), dashes, style.MARKERS, strict=True))
    assert len(signs) == len(style.COLOURS)
    assert abs(grey(style.BLUE) - grey(style.ORANGE)) > 20


def test_names_from_outside_are_not_taken_for_formulas(tmp_path: Path) -> None:
    report = RunResult(rows(("$\\frac{$", HOSTILE)))
    style.save(tmp_path / "f.svg", "two", lambda figure: noise.draw(figure, noise_scales(report)))


def test_an_ending_or_width_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in .pdf, .svg, .png"):
        style.save(tmp_path / "f.jpg", "one", KINDS["weights"])
    with pytest.raises(UsageError, match="one or two columns"):
        style.save(tmp_path / "f.png", "three", KINDS["weights"])


@pytest.mark.parametrize(
    ("scale_", "text"),
    [(1.0, ""), (8.0, "8"), (1 / 8, "1/8"), (0.98, "0.98"), (363.2, "363"), (1 / 182, "1/182")],
)
def test_a_scale_in_a_cell_is_a_small_number_or_its_reciprocal(scale_: float, text: str) -> None:
    assert heat._ratio(scale_) == text


@pytest.mark.parametrize("card", [{}, {"weights": []}, {"weights": ["a"]}, {"weights": [True]}])
def test_what_is_no_recovery_is_refused(card: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no recovered weights"):
        weights.of_card(card)


def bars(card: dict[str, Any]) -> tuple[str, list[tuple[float, str]]]:
    """The title, and height and colour of each bar that is filled."""
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    figure = Figure()
    weights.draw(figure, weights.of_card(card))
    (axes,) = figure.axes
    filled = [p for p in axes.patches if p.get_fill()]
    return axes.get_title(loc="left"), [(p.get_height(), to_hex(p.get_facecolor()).upper()) for p in filled]


def test_what_differs_from_most_stands_out() -> None:
    _, found = bars({"weights": [0.0, 0.5, 0.25, 0.25, 0.25, 0.25, None], "samples": 4})
    assert found == [(0.0, style.ORANGE), (2.0, style.ORANGE), *[(1.0, style.BLUE)] * 4]


def test_nothing_stands_out_where_all_differ_or_all_are_the_same_multiple() -> None:
    for given in ([0.1, 0.2, 0.3, 0.4], [1.0] * 4):
        assert {colour for _, colour in bars({"weights": given, "samples": 4})[1]} == {style.BLUE}


def test_weights_that_are_only_the_nearest_say_so() -> None:
    title, _ = bars(
        {"weights": [0.5, 0.5], "samples": 2, "linear": False, "residual": 0.3, "convention": None}
    )
    assert title == "The nearest weights: 30% of the gradient is no weighting of the units"


def lines(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def drawn(draw: Callable[[Any], None], width: float = max(style.PAGE_WIDTHS.values())) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3), layout="constrained")
    draw(figure)
    return figure


def test_noise_that_hides_the_gradient_has_words_in_place_of_a_bar() -> None:
    hidden = [{**row, "square": -1.0} if row["kind"] == "noise" else row for row in rows()]
    found = drawn(lambda figure: noise.draw(figure, noise_scales(RunResult(hidden))))
    assert "its noise hides the gradient" in lines(found)


def test_one_size_has_a_curve_without_an_exponent() -> None:
    found = drawn(lambda figure: scale.draw(figure, curves(RunResult(rows(sizes=(8,)))), "mean", 2))
    assert any(line.strip().startswith("sum") and "^" not in line for line in lines(found))


def test_a_scale_that_no_batch_size_changes_is_constant() -> None:
    found = drawn(lambda figure: scale.draw(figure, curves(REPORT), "mean", 2))
    labels = {line.split()[0]: line.split()[-1] for line in lines(found)}
    assert labels["half-mean"] == "constant"
    assert labels["sum"] == "$n^{1.00}$"


def test_cells_that_are_too_small_for_numbers_have_none() -> None:
    many = [discrepancy("one", 8, "0", f"own-{k}", scale=1.5 + k) for k in range(20)]
    found = heatmap(RunResult([*rows()[:1], *many]))
    shown, none = (lines(drawn(lambda figure: heat.draw(figure, found), width)) for width in (6.75, 2.0))
    assert shown
    assert not none


def test_trainings_that_never_meet_have_no_zero_on_the_axis() -> None:
    apart = [
        {**row, "distance_by_step": [1e-9, 1e-8, 1e-7]} if row["kind"] == "training_check" else row
        for row in rows()
    ]
    together, without = (
        drawn(lambda figure, r=r: trajectory.draw(figure, paths(RunResult(r)))) for r in (rows(), apart)
    )
    labels = [[t.get_text() for t in f.axes[0].get_yticklabels()] for f in (together, without)]
    assert "0" in labels[0]
    assert "0" not in labels[1]


def test_a_figure_says_of_which_batches_it_is() -> None:
    told = {name: " ".join(title_and_notes(drawn(draw))) for name, draw in KINDS.items()}
    assert "one batch a case: the first of 8 samples" in told["discrepancy"]
    assert "full batches" in told["scale"]
    assert "batches of 8" in told["trajectory"]
    assert "batches of the largest size" in told["noise-scale"]


def title_and_notes(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [" ".join(one.get_text().split()) for one in figure.findobj(Text)]


def test_what_only_full_batches_have_in_common_is_said_of_them_alone() -> None:
    same = [discrepancy("one", size, "0", "alike", scale=1.0) for size in (2, 8)]
    found = drawn(lambda figure: scale.draw(figure, curves(RunResult([*rows(), *same])), "mean", 2))
    assert "On full batches the same as mean: alike." in title_and_notes(found)


def test_weights_that_are_no_multiples_are_numbers() -> None:
    shown = weights.of_card({"weights": [0.25, 0.25, 0.25, 0.575], "samples": 4})
    assert "2.3/n" in lines(drawn(lambda figure: weights.draw(figure, shown)))


def test_large_weights_have_a_plain_axis() -> None:
    shown = weights.of_card({"weights": [0.25, 0.25, 0.25, 25.0], "samples": 4})
    assert "1e+02/n" not in lines(drawn(lambda figure: weights.draw(figure, shown)))
    assert "100/n" in lines(drawn(lambda figure: weights.draw(figure, shown)))


def test_a_file_without_a_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UsageError, match="holds no recovered weights"):
        weights.of_file(tmp_path / "x.json")


def test_a_card_with_half_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"weights": [1, 1], "fault": "\\ud800"}')
    with pytest.raises(UsageError, match=r"x\.json cannot be read as JSON: .*surrogates not allowed"):
        weights.of_file(tmp_path / "x.json")
