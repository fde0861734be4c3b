"""One spelling of a video's name, used by every table, layout and list.

Two spellings are one video where they differ in a suffix of video files, in the Unicode form of
their letters (a folder copied from another system has decomposed accents), or in blanks around
them.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gfvad.base.errors import DataError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts")
VIDEO_SUFFIXES += (".mts", ".flv", ".wmv", ".3gp", ".3g2", ".gif", ".dav", ".ogv", ".ogg", ".asf")
VIDEO_SUFFIXES += (".vob", ".mxf", ".f4v", ".m2v", ".mpe", ".h264", ".h265", ".hevc", ".y4m")
VIDEO_SUFFIXES += (".divx", ".rm", ".rmvb")
SHOWN = 5


def canonical(name: str) -> str:
    """The spelling of a video's name that all its other spellings are brought to; of that one it
    is the same."""
    name, before = unicodedata.normalize("NFC", name).strip(), ""
    # 'a.avi.mp4' is 'a': what was brought to its spelling once is found again
    while name != before:
        before, lower = name, name.lower()
        suffix = next((s for s in VIDEO_SUFFIXES if lower.endswith(s) and len(name) > len(s)), "")
        name = name[: len(name) - len(suffix)].strip()
    return name


class Names(Mapping[str, Any]):
    """{canonical name: value} of a table that remembers how its names were spelt. Looking up takes
    any spelling.

    `add` raises DataError where a video stands twice, whatever the spellings.
    """

    def __init__(self, file: str = ""):
        self.file = file  # what messages call the table
        self._values: dict[str, Any] = {}
        self._spelt: dict[str, str] = {}

    def add(self, where: str, name: str, value: Any) -> None:
        """A row at a place ('labels.csv, line 3')."""
        key = canonical(name)
        if not key:
            raise DataError(f"{where}: a blank name; expected the name of a video")
        if key in self._values:
            other = self._spelt[key]
            spelt = (
                f"video {name!r} stands twice"
                if other == name
                else f"{name!r} and {other!r} are one video"
            )
            raise DataError(f"{where}: {spelt}; expected one line a video: remove one")
        self._values[key], self._spelt[key] = value, name

    def __getitem__(self, name: str) -> Any:
        return self._values[canonical(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def spelt(self, name: str) -> str:
        """How the table spells a video."""
        return self._spelt[canonical(name)]


def some(names: Iterable[str]) -> str:
    """The first few of some names, for a message."""
    names = sorted(names)
    return ", ".join(names[:SHOWN]) + (
        f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    )


def near(name: str, known: Iterable[str]) -> str:
    """', near X' where a known name is alike (another case, a slip of the pen), else ''."""
    known = list(known)
    folded = {unicodedata.normalize("NFKC", other).casefold(): other for other in known}
    found = folded.get(unicodedata.normalize("NFKC", name).casefold())
    close = [found] if found else difflib.get_close_matches(name, known[:2000], n=1, cutoff=0.85)
    return f", near {close[0]!r}" if close else ""


def nearest(name: str, valid: Sequence[str]) -> str:
    """'; did you mean X?' for a misspelt name, else the valid ones (at most twelve)."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    # the last part alone often tells: train.lr -> optim.learning_rate does not, model.experts ->
    # model.filter.experts does
    if not close:
        tails = {key.rsplit(".", 1)[-1]: key for key in valid}
        close = [
            tails[tail]
            for tail in difflib.get_close_matches(
                name.rsplit(".", 1)[-1], list(tails), n=1, cutoff=0.6
            )
        ]
    return (
        f"; did you mean {close[0]!r}?"
        if close
        else f"; valid: {', '.join(list(valid)[:12])}{', ...' if len(valid) > 12 else ''}"
    )


def matched(file: str, table: Mapping[str, Any], videos: Mapping[str, Any], what: str) -> str:
    """A note on the names of a table that no video has ('' where every one has): how many, the
    first ones, what they may mean.

    table, videos: each finds a name in any spelling (`Names`). what: 'spans', 'captions', ...
    Raises DataError where no name of a table fits any video.
    """
    lost = [name for name in table if name not in videos]
    if table and videos and len(lost) == len(table):
        raise DataError(
            f"{file}: none of its {len(table)} names is of a video here. It has"
            f" {some(spelt(table))}; the videos are {some(videos)}; expected {what} of these"
            " videos: correct the names, or give the file that belongs to them"
        )
    if not lost:
        return ""
    free = [name for name in videos if name not in table]
    hint = next(
        (f" ({_spelt(table, name)!r}{like})" for name in lost[:10] if (like := near(name, free))),
        "",
    )
    listed = some(_spelt(table, name) for name in lost)
    return (
        f"{len(lost)} of {len(table)} {what} are of no video here and are left out: {listed}{hint}"
    )


def spelt(table: Mapping[str, Any]) -> list[str]:
    """The names of a table as it spells them."""
    return [_spelt(table, name) for name in table]


def _spelt(table: Mapping[str, Any], name: str) -> str:
    return table.spelt(name) if isinstance(table, Names) else name


def natural(name: str) -> tuple:
    """Key that sorts 'v2' before 'v10'."""
    return tuple(
        (1, int(part), part) if part.isdecimal() else (0, 0, part)
        for part in re.findall(r"\d+|\D+", name)
    )


def match_names(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Index in `names` of each wanted name, -1 where none fits.

    Equal names (in any spelling, `canonical`) first; else names of the same numbers, where
    that is unique: '1_label', '01' and 'Test001' are one video, '01_0014' another.
    """
    names = [canonical(name) for name in names]
    exact = {name: i for i, name in enumerate(names)}
    by_numbers: dict[tuple, list[int]] = {}
    for i, name in enumerate(names):
        by_numbers.setdefault(_numbers(name), []).append(i)

    def find(name: str) -> int:
        fits = by_numbers.get(_numbers(name), []) if _numbers(name) else []
        return exact.get(name, fits[0] if len(fits) == 1 else -1)

    return [find(canonical(name)) for name in wanted]


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", name))
