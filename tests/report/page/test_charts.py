"""The small charts of the page."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from suite.report.page.charts import HEIGHT, WIDTH, Line, chart


def drawn(lines: list[Line], **more: object) -> ElementTree.Element:
    settings = {"title": "t", "x": "n", "ticks": [1, 8], "log_x": True} | more
    return ElementTree.fromstring(chart(lines, **settings))  # noqa: S314  made by ourselves


def test_points_lie_where_they_belong() -> None:
    found = drawn([Line("a", [(1, 1.0), (8, 100.0)], "c0")])
    points = found.find("polyline").attrib["points"].split()
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points)
    assert 0 < x0 < x1 < WIDTH
    assert 0 < y1 < y0 < HEIGHT


def test_labels_keep_their_distance_and_stay_inside() -> None:
    found = drawn([Line(f"line {k}", [(1, 1.0), (8, 1.0 + k / 100)], "c0") for k in range(14)])
    places = sorted(float(t.attrib["y"]) for t in found.iter("text") if (t.text or "").startswith("line"))
    assert len(places) == 14
    assert all(b - a > 9 for a, b in itertools.pairwise(places))
    assert 0 < places[0] < places[-1] < HEIGHT


def test_text_is_escaped() -> None:
    found = drawn([Line("<b> & c", [(1, 1.0), (8, 2.0)], "c0")], title='"<x>"')
    assert found.attrib["aria-label"] == '"<x>"'
    assert "<b> & c" in {text.text for text in found.iter("text")}


def test_nothing_to_show_is_no_chart() -> None:
    assert chart([Line("a", [(1, 0.0)], "c0")], title="t", x="n", ticks=[1], log_x=True) == ""
