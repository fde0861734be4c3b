"""What came of a case: right, a clear error, or one of the outcomes that must not be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.bench.fuzz.effect import CHANGES, ERROR, SAME, SECRET

RIGHT, CLEAR, UNCLEAR, TRACEBACK = "right", "clear error", "unclear error", "raw traceback"
HANG, SILENT, OUTSIDE = "hang", "silent wrong", "written outside"
NOT_RUN = "not run"  # a fault of the fuzzer
OUTCOMES = (RIGHT, CLEAR, UNCLEAR, TRACEBACK, HANG, SILENT, OUTSIDE, NOT_RUN)
BAD = OUTCOMES[2:]
REPORTS = re.compile(r"report this|file a bug|please report|open an issue", re.I)
ERROR_LINE = re.compile(r"error: |[\w.]+: error: |python -m [\w. ]+: error: ")
TRACES = (
    r"Traceback \(most recent call last\)|^Fatal Python error|^Current thread 0x|Segmentation f"
)
RAISED = re.compile(TRACES, re.M)


class Verdict(NamedTuple):
    """An outcome, and why."""

    outcome: str
    why: str


def judge(
    told: Mapping[str, Any],
    sound: Mapping[str, Any],
    said: str,
    errors: str,
    status: int,
    hung: bool,
) -> Verdict:
    """The outcome of a case.

    Args: told: what its child kept (effect, digest, wrong, not_finite, secret, page); sound: of
    the unchanged command (digests, local); said, errors: its output.
    """
    effect, text, last = told["effect"], said + errors + told.get("page", ""), _last_line(errors)
    if hung:
        return Verdict(HANG, f"ended after {told.get('limit', 0):.0f} s")
    if RAISED.search(errors) or RAISED.search(said):
        return Verdict(TRACEBACK, last)
    if status < 0 or status == 97:
        return Verdict(TRACEBACK, f"ended by signal {-status}: {last}")
    if told.get("wrong"):
        return Verdict(OUTSIDE, "; ".join(told["wrong"][:4]))
    if SECRET in said + errors or told.get("secret"):
        return Verdict(UNCLEAR, f"the password stands in {told.get('secret') or 'a message'}")
    if told.get("not_finite"):
        return Verdict(SILENT, f"{told['not_finite']} holds numbers that are not finite")
    if asked := REPORTS.search(said + errors):
        return Verdict(UNCLEAR, f"asks to report it: {asked[0]}")
    if told.get("unreadable") and not status:
        return Verdict(SILENT, f"exit code 0, and its result cannot be read: {told['unreadable']}")
    named, digest = _named(text, effect["names"]), told.get("digest")
    differing = _differing(digest, sound["digests"]) if digest is not None else ["no result"]
    strange = [
        item
        for item in differing
        if not _near(item, effect["names"]) and not _named(text, (_key(item),))
    ]
    if not status:
        return _result(effect["expect"], named, differing, strange if sound["local"] else [])
    if effect.get("seconds") and status in (130, 143):
        if named:
            return Verdict(CLEAR, "ended")
        return Verdict(UNCLEAR, f"nothing says what it waits for: {last}")
    lines = [line for line in errors.splitlines() if ERROR_LINE.match(line)]
    if effect["expect"] == SAME:
        return Verdict(SILENT, f"refused what is sound ({status}): {(lines or [last])[0]}")
    if status == 1 and not lines:  # the rest was done, and what failed is listed
        if not named:
            return Verdict(UNCLEAR, f"exit code 1 and no name: {last}")
        if strange and digest and effect["expect"] != CHANGES:
            items = ", ".join(strange[:4])
            return Verdict(SILENT, f"others came out otherwise and nothing says so: {items}")
        return Verdict(CLEAR, last)
    if status not in (1, 2, 3) or len(lines) != 1:
        return Verdict(UNCLEAR, f"exit code {status}, {len(lines)} lines of error: {last}")
    # not finite numbers in training: videos are named, not settings
    if named or status == 3:
        return Verdict(CLEAR, lines[0])
    return Verdict(UNCLEAR, f"does not name it: {lines[0]}")


def _result(expect: str, named: bool, differing: list[str], strange: list[str]) -> Verdict:
    """Of a command that ended well. differing: items that are not as the sound ones; strange: of
    them those that nothing was said of."""
    if expect == ERROR:
        if named:
            return Verdict(RIGHT, "named")
        return Verdict(
            SILENT, f"exit code 0 and no word of it{'; results differ' if differing else ''}"
        )
    if not differing:
        return Verdict(RIGHT, "as the sound one")
    if expect == SAME:
        return Verdict(SILENT, f"another result: {', '.join(differing[:4])}")
    if named:
        return Verdict(RIGHT, "named")
    if expect == CHANGES:
        if strange:
            return Verdict(SILENT, f"others changed too: {', '.join(strange[:4])}")
        return Verdict(RIGHT, "another valid result")
    items = ", ".join(map(ascii, differing[:4]))
    return Verdict(SILENT, f"another result and no word of it: {items}")


def _differing(found: Mapping[str, str] | None, accepted: Sequence[Mapping[str, str]]) -> list[str]:
    """Items that differ from the nearest of the accepted results."""
    lists = [
        sorted(k for k in set(found or {}) | set(one) if (found or {}).get(k) != one.get(k))
        for one in accepted
    ]
    return min(lists, key=len)


def _near(item: str, names: Sequence[str]) -> bool:
    key = unicodedata.normalize("NFC", _key(item))
    plain = (unicodedata.normalize("NFC", name) for name in names if name)
    return any(name in key or key in name for name in plain)


def _key(item: str) -> str:
    """The video that an item is of."""
    return Path(item.rsplit("\t", 1)[-1]).stem if "/" in item else item.rsplit("\t", 1)[-1]


def _named(text: str, names: Sequence[str]) -> bool:
    """Whether a message holds one of the names, however it is escaped."""
    text = unicodedata.normalize("NFC", text)
    plain = [unicodedata.normalize("NFC", name) for name in names if name]
    return not plain or any(name in text or ascii(name)[1:-1] in text for name in plain)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"
