"""How the page gets at the videos: inside it, beside it, or not at all and why."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from gfvad.base.files import atomically
from gfvad.base.owned import Owned
from gfvad.base.progress import Progress
from gfvad.base.types import ConfigError, DataError

VIDEOS_BESIDE = "_videos"  # end of the name of the folder beside a page
MODES = ("auto", "embed", "link")
# bytes a second: below that no video of interest comes, so one that cannot fit is not tried
LEAST = 8_000


class Source(NamedTuple):
    """Where a clip's video lies."""

    path: Path | None  # file or folder of frames; None where unknown
    fps: float  # of a folder of frames; 0.0 where unknown


class Place(NamedTuple):
    """Where a page goes."""

    out: Path  # the page, which links are relative to
    staging: Path  # what is to be put into the page's folder
    own: Owned  # that folder
    mode: str  # of its videos, one of MODES
    max_mb: float  # of videos in the page, with 'auto'


class Player(NamedTuple):
    """How a clip is played."""

    kind: str  # 'embedded' | 'linked' | 'none'
    media: str  # base64 of an mp4, or a relative address, or ''
    note: str  # why it is linked or cannot be played, or ''


def rate_of(path: Path | None) -> float:
    """Frames a second of a video; 0.0 where it is not known."""
    if path is None:
        return 0.0
    try:
        from gfvad.reporting import transcode

        return transcode.length_of(path)[1]
    except (DataError, ImportError):
        return 0.0


def size_of(path: Path | None) -> tuple[int, int]:
    """Width and height of a video's pictures as they are shown; (0, 0) where they are not known."""
    if path is None or not path.exists():
        return 0, 0
    try:
        from gfvad.reporting import transcode

        return transcode.picture_size(path)
    except (DataError, ImportError):
        return 0, 0


def players(
    names: Sequence[str],
    sources: Sequence[Source],
    order: Sequence[int],
    place: Place,
    show: Callable[..., Progress] = Progress,
) -> list[Player]:
    """A player a clip. order: indices in which the room for videos in the page is given away.

    Raises ConfigError for another mode or a limit below 0.
    """
    mode, max_mb = place.mode, place.max_mb
    if mode not in MODES or not max_mb >= 0:
        raise ConfigError(
            f"--videos={mode} --max-video-mb={max_mb}: expected one of {', '.join(MODES)}, and a"
            " number of megabytes of at least 0"
        )
    room = 0.0 if mode == "link" else float("inf") if mode == "embed" else max_mb * 1e6
    found: dict[int, Player] = {}
    with show(len(order), "report", "videos") as progress:
        for i in order:
            found[i] = player(names[i], sources[i], place, room)
            room -= len(found[i].media) if found[i].kind == "embedded" else 0
            progress.advance()
    return [found[i] for i in range(len(names))]


def player(name: str, source: Source, place: Place, room: float) -> Player:
    """Embedded where it fits into `room` bytes of base64, else linked; 'none' with the reason
    where neither can be."""
    none, path = partial(Player, "none", ""), source.path
    find = "--video-root=FOLDER finds"
    if path is None:
        return none(f"The place of this video is not known; {find} videos by their names.")
    if not path.exists():
        return none(f"The video was not found at {path}; {find} it elsewhere.")
    linked = Player("linked", address(path, place.out), "")
    try:
        from gfvad.reporting import transcode
    except ImportError as error:
        brings = "launch/requirements-video.txt brings what"
        if path.is_file():
            return linked._replace(note=f"Linked as it is: {error}; {brings} embeds it.")
        return none(f"A folder of frames cannot be played: {error}; {brings} encodes it.")
    try:
        if place.mode != "link" and transcode.length_of(path, source.fps)[0] * LEAST <= room:
            with contextlib.suppress(transcode.TooLarge):
                content = transcode.to_mp4(path, source.fps, room * 3 / 4)
                return Player("embedded", base64.b64encode(content).decode(), "")
        if path.is_file():
            full = "Linked, not inside this page: the room for videos is used up (--max-video-mb)."
            return linked._replace(note="" if place.mode == "link" else full)
        folder = f"{place.out.stem}{VIDEOS_BESIDE}"
        beside = f"{folder}/{name.replace('/', '__')}.mp4"
        if whose := place.own.whose(beside):
            taken = f"{place.out.parent / beside} is in its place ({whose})"
            return none(f"The video is not shown: {taken}.")
        content = transcode.to_mp4(path, source.fps)
        atomically(place.staging / beside, lambda file: file.write(content))
        return Player("linked", quote(beside), f"Plays from {folder}/, which belongs to this page.")
    except DataError as error:
        return none(f"The video cannot be shown. {error}")
    except OSError as error:
        reason = f"{error.filename or path} ({error.strerror})"
        return none(f"The video cannot be shown: {reason}.")


def address(path: Path, out: Path) -> str:
    """A link from the page to a file, quoted."""
    return quote(os.path.relpath(path.resolve(), out.resolve().parent).replace(os.sep, "/"))
