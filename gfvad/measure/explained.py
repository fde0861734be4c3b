"""What one score comes from, whatever model made it: its parts, the units behind it, the relations
that were fused. As tables, as a tree for JSON; and what taking the named causes away does.

Parts add up to `value` (of models with scores in [0, 1]: the logit of the score).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.errors import ConfigError

SHOWN = 6  # rows of a table
TRIED = 12  # units with the largest parts, that are taken away one by one
NAMED = 5  # units that are named as the cause, at most
HALF = 0.5  # of what raises a score: so much the named units have, where they are that few


class NotExplained(ConfigError):
    """The scores of such a model have no parts that could be named."""


class Cause(NamedTuple):
    """A unit that a score comes from."""

    video: str  # '' where it is not known
    start: float  # seconds; NaN where they are not known
    end: float
    part: float  # of the value; NaN of what only stands by
    weight: float  # with which it counts; NaN where there is none
    what: str  # 'this video', 'training video, abnormal', 'nearest normal unit (velocity)'
    place: int = -1  # its number where it is kept
    # how far the value falls where this one alone is taken away; NaN where it was not tried
    without: float = float("nan")


class Relation(NamedTuple):
    """A relation in words."""

    words: str
    weight: float
    share: float  # of the effect of all, 0 to 1


class Explained(NamedTuple):
    """What the score of a moment comes from."""

    video: str
    start: float  # seconds
    end: float
    score: float
    value: float
    value_is: str  # 'logit', 'score'
    parts: Mapping[str, float]  # add up to `value`, the first one what is there without any cause
    causes: Sequence[Cause]  # the largest part first
    relations: Sequence[Relation]  # the largest share first

    @property
    def base(self) -> str:
        """The part that is no cause."""
        return next(iter(self.parts))

    @property
    def sets(self) -> dict[str, float]:
        """The parts that are causes, the largest first."""
        found = {n: x for n, x in self.parts.items() if n != self.base}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


class Removal(NamedTuple):
    """How far `value` falls where named causes are taken away, and where as many others are, drawn
    at random: cause -> both; left out where there are not so many others."""

    video: str
    value: float
    falls: Mapping[str, tuple[float, float]]


class Fall(NamedTuple):
    """The same over videos."""

    cause: str
    videos: int
    lowers: float  # share of videos whose value falls
    more: float  # share of videos where it falls more than without others
    fall: float  # mean
    fall_of_others: float


def named(causes: Sequence[Cause]) -> list[Cause]:
    """The causes that stand for a score: of those without which it is lower, the fewest that have
    half of all these falls, NAMED of them at most."""
    raising = sorted((c for c in causes if c.without > 0), key=lambda c: -c.without)
    total, found, so_far = sum(c.without for c in raising), [], 0.0
    for cause in raising[:NAMED]:
        found.append(cause)
        so_far += cause.without
        if so_far >= HALF * total:
            break
    return found


def highest(scores: Sequence[np.ndarray]) -> int:
    """The video with the highest score, by the scores of its frames; no label takes part."""
    return int(np.argmax([x.max(initial=-np.inf) for x in scores]))


def minutes(seconds: float) -> str:
    """'1:24.0'; '-' where it is not known."""
    if not np.isfinite(seconds):
        return "-"
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def as_tables(found: Explained, what: str) -> list[dict[str, Any]]:
    """[{title, header, rows}] for results.json, results.md and the page. what: 'the highest
    score'."""
    moment = f"{found.video}, {minutes(found.start)} to {minutes(found.end)}"
    raising = sum(x for x in found.sets.values() if x > 0)
    share = lambda x: f"{100 * x / raising:.0f} %" if x > 0 else ""
    rows = [[found.base, f"{found.parts[found.base]:+.3f}", ""]]
    rows += [[name, f"{x:+.3f}", share(x)] for name, x in list(found.sets.items())[:SHOWN]]
    rest = sum(list(found.sets.values())[SHOWN:])
    rows += [["all others", f"{rest:+.3f}", ""]] if len(found.sets) > SHOWN else []
    rows.append([f"together, its {found.value_is}", f"{found.value:+.3f}", ""])
    made = [
        {
            "title": f"what {what} comes from: {moment}, score {found.score:.4g}",
            "header": ["feature set", f"part of the {found.value_is}", "share of what raises it"],
            "rows": rows,
        }
    ]
    if found.causes:
        cells = [
            [
                c.what,
                c.video,
                f"{minutes(c.start)} to {minutes(c.end)}",
                f"{c.weight:.2g}" if np.isfinite(c.weight) else "-",
                digits(c.part, "+"),
                digits(-c.without, "+"),
            ]
            for c in found.causes[:SHOWN]
        ]
        header = ["unit", "video", "time", "weight", f"part of the {found.value_is}", "without it"]
        made.append({"title": "units behind it", "header": header, "rows": cells})
    if found.relations:
        lines = [[r.words, f"{r.weight:.3g}", f"{100 * r.share:.0f} %"] for r in found.relations]
        title = "relations that were fused, in words (A)"
        header = ["relation", "weight", "share of the whole by its effect"]
        made.append({"title": title, "header": header, "rows": lines[:SHOWN]})
    return made


def digits(x: float, sign: str = "") -> str:
    """Three digits; '-' where there is none."""
    return f"{x:{sign}.3f}" if np.isfinite(x) else "-"


def as_tree(found: Explained) -> dict[str, Any]:
    """For results.json."""
    told = found._asdict() | {"parts": dict(found.parts)}
    told["causes"] = [c._asdict() for c in found.causes]
    return told | {"relations": [r._asdict() for r in found.relations]}


def measured(removals: Sequence[Removal]) -> list[Fall]:
    """Each cause over the videos that have it."""
    found = []
    for cause in dict.fromkeys(cause for r in removals for cause in r.falls):
        falls = np.array([r.falls[cause] for r in removals if cause in r.falls])
        own, other = falls.T
        shares = float((own > 0).mean()), float((own > other).mean())
        found.append(Fall(cause, len(falls), *shares, float(own.mean()), float(other.mean())))
    return found


def falls_table(falls: Sequence[Fall]) -> dict[str, Any]:
    """{title, header, rows}."""
    rows = [
        [
            f.cause,
            str(f.videos),
            f"{100 * f.lowers:.0f} %",
            f"{100 * f.more:.0f} %",
            f"{f.fall:.3f}",
            f"{f.fall_of_others:.3f}",
        ]
        for f in falls
    ]
    header = ["taken away", "videos", "lowers the score", "more than others do", "mean fall"]
    return {
        "title": "the highest score of each video without its named causes",
        "header": [*header, "mean fall without others"],
        "rows": rows,
    }
