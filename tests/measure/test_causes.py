"""What is said of a score: named causes, falls over videos, tables and the tree for JSON."""

import json

import numpy as np
import pytest

from gfvad.measure import explained
from gfvad.measure.explained import Cause, Explained, Relation, Removal
from gfvad.measure.results import json_tree

NAN = float("nan")


def cause(without, place=0, part=1.0):
    return Cause("v", 61.25, 62.5, part, 0.5, "this video", place, without)


def test_named_are_the_fewest_with_half_of_the_falls():
    falls = [0.1, 3.0, NAN, -5.0, 2.0, 1.5]
    found = explained.named([cause(x, i) for i, x in enumerate(falls)])
    assert [c.place for c in found] == [1, 4]  # 3 of 6.6 is less than half, 5 is not
    even = explained.named([cause(1.0, i) for i in range(40)])
    assert len(even) == explained.NAMED
    assert explained.named([cause(-1.0), cause(NAN)]) == []


def test_falls_over_videos():
    removals = [
        Removal("a", 1.0, {"set": (2.0, 1.0), "units": (0.5, 0.0)}),
        Removal("b", 1.0, {"set": (1.0, 3.0)}),
        Removal("c", 1.0, {"set": (-3.0, -4.0)}),
    ]
    of_set, of_units = explained.measured(removals)
    assert (of_set.cause, of_set.videos, of_units.videos) == ("set", 3, 1)
    np.testing.assert_allclose(of_set[2:], [2 / 3, 2 / 3, 0.0, 0.0])
    rows = explained.falls_table([of_set, of_units])["rows"]
    assert rows[1] == ["units", "1", "100 %", "100 %", "0.500", "0.000"]
    assert explained.measured([]) == []


def an_explanation():
    parts = {"nothing known": -3.0, "rgb": 0.5, "audio": 4.5, "flow": -1.0}
    causes = [cause(0.25, part=2.0), Cause("", NAN, NAN, NAN, NAN, "nearest normal unit")]
    relations = [Relation("product of rgb and audio", 0.42, 0.31)]
    return Explained("v", 61.25, 62.5, 0.73, 1.0, "logit", parts, causes, relations)


def test_tables_say_parts_shares_units_and_relations():
    sets, units, relations = explained.as_tables(an_explanation(), "the highest score")
    assert sets["title"] == "what the highest score comes from: v, 1:01.2 to 1:02.5, score 0.73"
    assert [row[0] for row in sets["rows"]] == [
        "nothing known",
        "audio",
        "rgb",
        "flow",
        "together, its logit",
    ]
    assert sets["rows"][1] == ["audio", "+4.500", "90 %"] and sets["rows"][3][2] == ""
    assert units["rows"][0] == ["this video", "v", "1:01.2 to 1:02.5", "0.5", "+2.000", "-0.250"]
    assert units["rows"][1] == ["nearest normal unit", "", "- to -", "-", "-", "-"]
    assert relations["rows"] == [["product of rgb and audio", "0.42", "31 %"]]


def test_the_tree_is_json_without_what_is_not_known():
    tree = json.loads(json.dumps(json_tree(explained.as_tree(an_explanation())), allow_nan=False))
    assert sum(tree["parts"].values()) == tree["value"] == 1.0
    assert tree["causes"][1]["start"] is None and tree["relations"][0]["share"] == 0.31


@pytest.mark.parametrize("scores, expected", [([[0.1, 0.5], [0.7], []], 1), ([[1.0], [1.0]], 0)])
def test_the_highest_score_chooses_the_video(scores, expected):
    assert explained.highest([np.array(x) for x in scores]) == expected
