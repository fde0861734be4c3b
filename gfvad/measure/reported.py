"""What papers report, and with which protocol: nothing here was measured by this project.

    reported("ucf_crime") -> the figures of every method on that set, in the order of the file
    reported("ucf_crime", "ur_dmu") -> those of the method that our model of that name is
    each has .value (per cent, as printed), .share (0 to 1), .metric, .features, .protocol, .source

`reported.csv` beside this file holds one row a figure, as printed, in per cent. What a row says of
the protocol was read from the method's public program, where it names one; "unknown" is what could
not be read there. Tables of the pages are filled from it too (`gfvad report --tables`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gfvad.base.files import read_table

FILE = Path(__file__).with_name("reported.csv")
UNKNOWN = "unknown"
# papers call both areas under precision and recall AP; those whose program draws straight lines
# between points are told apart here
METRICS = {"auc": "AUC", "ap": "AP", "pr_trapezoid": "AP", "rbdc": "RBDC", "tbdc": "TBDC"}


class Split(NamedTuple):
    """A set as papers use it."""

    title: str
    metric: str  # a value of METRICS, that a table shows unnamed
    about: str  # what is tested


SETS = {
    "ucf_crime": Split("UCF-Crime", "AUC", "290 official test videos"),
    "xd_violence": Split("XD-Violence", "AP", "800 official test videos"),
    "shanghaitech": Split("ShanghaiTech", "AUC", "weak split, 199 test videos"),
    "ped2_weak": Split("Ped2", "AUC", "weak split, 18 test videos"),
    "msad": Split("MSAD", "AUC", "official test videos"),
    "ped2": Split("Ped2", "AUC", "12 test videos, normal training video"),
    "avenue": Split("Avenue", "AUC", "21 test videos, normal training video"),
    "shanghaitech_semi": Split("ShanghaiTech", "AUC", "107 test videos, normal training video"),
}
# other names of `config.data.dataset` for a set: what is learnt from differs, not what is tested
SAME = {
    "ped2_novelty": "ped2",
    "ped2_tokens": "ped2",
    "avenue_tracks": "avenue",
    "shanghaitech_tracks": "shanghaitech_semi",
}


class Reported(NamedTuple):
    """One figure of a paper. The fields are the columns of the file."""

    method: str
    model: str  # our model of it, by the name of a config's variant; "": there is none
    set: str  # a key of SETS
    metric: str  # a key of METRICS
    value: str  # per cent, with the digits of the paper
    features: str
    checkpoint: str  # which one was tested
    crops: str  # "": its inputs have none
    normalisation: str  # of scores
    smoothing: str  # of scores
    note: str
    source: str  # where the figure stands
    program: str  # where the protocol was read

    @property
    def share(self) -> float:
        """The value from 0 to 1, as this project prints its own."""
        return float(self.value) / 100

    @property
    def conditions(self) -> str:
        """'best checkpoint on test; mean over crops; raw': how its scores were made."""
        parts = (self.checkpoint, self.crops, self.normalisation, self.smoothing)
        if {*parts} <= {UNKNOWN, ""}:
            return UNKNOWN
        checkpoint, crops, normalisation, smoothing = map(worded, SAID, parts)
        scores = [normalisation, smoothing] if parts[2:] != RAW else ["raw"]
        return "; ".join(filter(None, [checkpoint, crops, *scores, self.note]))

    @property
    def protocol(self) -> str:
        """The conditions, and how the metric was computed where that is known to differ."""
        rule = "; AP by the trapezoid rule" if self.metric == "pr_trapezoid" else ""
        return self.conditions + rule


RAW = ("none", "none")  # neither normalised nor smoothed
SAID = {  # part of a protocol -> value -> how a table says it
    "checkpoint": {
        UNKNOWN: "checkpoint unknown",
        "best on test": "best checkpoint on test",
        "last": "last checkpoint",
    },
    "crops": {
        UNKNOWN: "crops unknown",
        "mean": "mean over crops",
        "best on test": "best crop on test",
    },
    "normalisation": {
        UNKNOWN: "normalisation unknown",
        "none": "not normalised",
        "training video": "normalised by training video",
    },
    "smoothing": {UNKNOWN: "smoothing unknown", "none": "not smoothed"},
}


def worded(part: str, value: str) -> str:
    """A part of a protocol in words."""
    return SAID[part].get(value, value)


def reported(dataset: str, model: str = "") -> tuple[Reported, ...]:
    """What papers report on a set, by its name in `config.data.dataset`, of every method or of the
    one that our `model` is.

    () for a set, or a model, of which nothing is reported; so too for a simulated set.
    """
    name = SAME.get(dataset, dataset)
    return tuple(row for row in rows() if row.set == name and (not model or row.model == model))


@cache
def rows() -> tuple[Reported, ...]:
    """All figures. Raises DataError for a damaged file."""
    return tuple(Reported(**row) for _, row in read_table(FILE, Reported._fields))


def as_table(sets: Sequence[str], model: str = "") -> tuple[list[str], list[list[str]]]:
    """(header, cells) of a table: a row a method (or the one that our `model` is), a column a set,
    then features and protocol. A figure other than the set's usual one is named."""
    methods: dict[str, list[Reported]] = {}
    for row in rows():
        if row.set in sets and (not model or row.model == model):
            methods.setdefault(row.method, []).append(row)
    header = ["method", *(SETS[name].title for name in sets), "features", "reported with"]
    cells = []
    for method, figures in methods.items():
        of_sets = {name: [f for f in figures if f.set == name] for name in sets}
        features = list(dict.fromkeys(f.features for f in figures if f.features != UNKNOWN))
        shown = [", ".join(cell(f, figures) for f in of_sets[name]) for name in sets]
        cells.append([method, *shown, " or ".join(features) or UNKNOWN, protocols(of_sets)])
    return header, cells


def cell(figure: Reported, beside: Sequence[Reported]) -> str:
    """'86.97', 'AP 64.40', '83.13 (I3D + sound)': a figure, with what tells it from others."""
    named = METRICS[figure.metric]
    named = "" if named == SETS[figure.set].metric else f"{named} "
    alike = [f for f in beside if (f.set, f.metric) == (figure.set, figure.metric)]
    return f"{named}{figure.value}" + (f" ({figure.features})" if len(alike) > 1 else "")


def protocols(of_sets: Mapping[str, Sequence[Reported]]) -> str:
    """The protocols of a method's figures, with the sets that each is of where they differ; then
    where figures stand that are quoted by others."""
    found: dict[str, list[str]] = {}
    for name, figures in of_sets.items():
        for f in figures:
            quoted = f" ({f.source})" if f.source.startswith("as quoted") else ""
            found.setdefault(f.conditions + quoted, []).append(SETS[name].title)
    if len(found) == 1:
        return next(iter(found))
    return ". ".join(f"{', '.join(dict.fromkeys(on))}: {text}" for text, on in found.items())
