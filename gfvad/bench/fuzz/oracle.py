"""What came of a case: right, a clear error, or one of the outcomes that must not be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.bench.fuzz.effect import CHANGES, ERROR, SAME, SECRET

RIGHT, CLEAR, UNCLEAR, TRACEBACK, HANG, SILENT, OUTSIDE = (
    "right",
    "clear error",
    "unclear error",
    "raw traceback",
    "hang",
    "silent wrong",
    "written outside",
)
NOT_RUN = "not run"  # a fault of the fuzzer
OUTCOMES = (RIGHT, CLEAR, UNCLEAR, TRACEBACK, HANG, SILENT, OUTSIDE, NOT_RUN)
BAD = OUTCOMES[2:]
REPORTS = re.compile(r"report this|file a bug|please report|open an issue", re.I)
RAISED = re.compile(
    r"Traceback \(most recent call last\)|^Fatal Python error|^Current thread 0x|Segmentation f",
    re.M,
)


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
    the unchanged command (digests, exit, local); said, errors: its output.
    """
    effect, text = told["effect"], said + errors + told.get("page", "")
    if hung:
        return Verdict(HANG, f"ended after {told.get('limit', 0):.0f} s")
    if RAISED.search(errors) or RAISED.search(said):
        return Verdict(TRACEBACK, _last_line(errors))
    if status < 0 or status == 97:
        return Verdict(TRACEBACK, f"ended by signal {-status}: {_last_line(errors)}")
    if told.get("wrong"):
        return Verdict(OUTSIDE, "; ".join(told["wrong"][:4]))
    if SECRET in said + errors or told.get("secret"):
        return Verdict(UNCLEAR, f"the password stands in {told.get('secret') or 'a message'}")
    if told.get("not_finite"):
        return Verdict(SILENT, f"{told['not_finite']} holds numbers that are not finite")
    if asked := REPORTS.search(said + errors):
        return Verdict(UNCLEAR, f"asks to report it: {asked[0]}")
    named = _named(text, effect["names"])
    if status not in (0, sound["exit"]):
        return _error(effect, sound, told, errors, text, status, named)
    return _result(effect, sound, told, text, named)


def _error(
    effect: Mapping[str, Any],
    sound: Mapping[str, Any],
    told: Mapping[str, Any],
    errors: str,
    text: str,
    status: int,
    named: bool,
) -> Verdict:
    lines = [
        line
        for line in errors.splitlines()
        if re.match(r"(error: |[\w.]+: error: |python -m [\w. ]+: error: )", line)
    ]
    if effect.get("seconds") and status in (130, 143):
        return (
            Verdict(CLEAR, "ended")
            if named
            else Verdict(UNCLEAR, f"nothing says what it waits for: {_last_line(errors)}")
        )
    if effect["expect"] == SAME:
        return Verdict(
            SILENT, f"refused what is sound ({status}): {(lines or [_last_line(errors)])[0]}"
        )
    if status == 1 and not lines:
        return _some(effect, sound, told, text, named, errors)
    if status not in (1, 2, 3) or len(lines) != 1:
        return Verdict(
            UNCLEAR, f"exit code {status}, {len(lines)} lines of error: {_last_line(errors)}"
        )
    named = named or status == 3  # not finite numbers in training: videos are named, not settings
    return Verdict(CLEAR, lines[0]) if named else Verdict(UNCLEAR, f"does not name it: {lines[0]}")


def _some(
    effect: Mapping[str, Any],
    sound: Mapping[str, Any],
    told: Mapping[str, Any],
    text: str,
    named: bool,
    errors: str,
) -> Verdict:
    """Exit code 1: the rest was done, and what failed is listed."""
    if not named:
        return Verdict(UNCLEAR, f"exit code 1 and no name: {_last_line(errors)}")
    strange = [
        item
        for item in _differing(told.get("digest"), sound["digests"])
        if not _near(item, effect["names"]) and not _named(text, (_key(item),))
    ]
    if strange and told.get("digest") and effect["expect"] != CHANGES:
        return Verdict(
            SILENT, f"others came out otherwise and nothing says so: {', '.join(strange[:4])}"
        )
    return Verdict(CLEAR, _last_line(errors))


def _result(
    effect: Mapping[str, Any],
    sound: Mapping[str, Any],
    told: Mapping[str, Any],
    text: str,
    named: bool,
) -> Verdict:
    expect, digest = effect["expect"], told.get("digest")
    differing = _differing(digest, sound["digests"]) if digest is not None else ["no result"]
    if told.get("unreadable"):
        return Verdict(SILENT, f"exit code 0, and its result cannot be read: {told['unreadable']}")
    if expect == ERROR:
        return (
            Verdict(RIGHT, "named")
            if named
            else Verdict(
                SILENT, f"exit code 0 and no word of it{'; results differ' if differing else ''}"
            )
        )
    if not differing:
        return Verdict(RIGHT, "as the sound one")
    if expect == SAME:
        return Verdict(SILENT, f"another result: {', '.join(differing[:4])}")
    if expect == CHANGES:
        strange = [
            item
            for item in differing
            if sound["local"]
            and not _near(item, effect["names"])
            and not _named(text, (_key(item),))
        ]
        return (
            Verdict(SILENT, f"others changed too: {', '.join(strange[:4])}")
            if strange and not named
            else Verdict(RIGHT, "another valid result")
        )
    return (
        Verdict(RIGHT, "named")
        if named
        else Verdict(
            SILENT, f"another result and no word of it: {', '.join(map(ascii, differing[:4]))}"
        )
    )


def _differing(found: Mapping[str, str] | None, accepted: Sequence[Mapping[str, str]]) -> list[str]:
    """Items that differ from the nearest of the accepted results."""
    lists = [
        sorted(k for k in set(found or {}) | set(one) if (found or {}).get(k) != one.get(k))
        for one in accepted
    ]
    return min(lists, key=len)


def _near(item: str, names: Sequence[str]) -> bool:
    key = unicodedata.normalize("NFC", _key(item))
    return any(
        name and (name in key or key in name)
        for name in (unicodedata.normalize("NFC", n) for n in names)
    )


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
