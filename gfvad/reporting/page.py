"""The page itself: template, style and scripts of this folder with the data in them, in one HTML
file that asks nothing of a network.

Data lies in <script type="application/json"> blocks, `whole` and one a video, which the page reads
when that video is chosen; embedded videos are base64 in blocks of their own. A content security
policy lets the page's own scripts run, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gfvad.base.files import atomically
from gfvad.base.owned import Owned
from gfvad.base.progress import Progress
from gfvad.base.types import DataError
from gfvad.reporting.clips import line_of
from gfvad.reporting.folders import Contents, read_folder
from gfvad.reporting.videos import VIDEOS_BESIDE, Place, Player, players

PAGE = "report.html"
# lines of pages without a generator
OLDER = {'<link rel="icon" href="data:,">', '<meta name="color-scheme" content="light dark">'}
SCRIPTS = ("plots.js", "stage.js", "report.js")  # in this order


def write_report(
    folder: Path,
    out: Path | None = None,
    videos: str = "auto",
    max_video_mb: float = 100.0,
    video_root: Path | None = None,
    show: Callable[..., Progress] = Progress,
) -> Path:
    """Writes the page of a folder of scores, a run or several runs (default: FOLDER/report.html)
    and returns its path.

    videos: 'auto' (in the page up to max_video_mb of them, the others linked), 'embed' or 'link';
    video_root: where to look for videos by their names.
    Raises DataError where the folder holds nothing to report on, plotly is missing or the page
    cannot be written; ConfigError for other arguments.
    """
    return make_report(folder, out, videos, max_video_mb, video_root, show)[0]


def make_report(
    folder: Path,
    out: Path | None = None,
    videos: str = "auto",
    max_video_mb: float = 100.0,
    video_root: Path | None = None,
    show: Callable[..., Progress] = Progress,
) -> tuple[Path, list[tuple[str, str]]]:
    """As `write_report`; also [(what, reason)] of what is damaged and therefore not, or not
    wholly, in the page."""
    plotly = plotly_script()
    out = Path(out or Path(folder) / PAGE)
    owned(out).claim([out.name])
    contents = read_folder(Path(folder), video_root)
    own = owned(out)
    with own.locked("folder of a report", [out.name], lock=".gfvad-report.lock"):
        with own.staged(last=out.name) as staging:
            write_page(contents, plotly, out, staging, (videos, max_video_mb), show)
    return out, contents.damaged


def owned(out: Path) -> Owned:
    """What reports were written beside a page."""
    return Owned(out.parent, "report", "gfvad report", is_ours)


def is_ours(path: Path) -> bool:
    """Whether a file is a page, or a video beside one, by its content; of versions that kept no
    record."""
    if path.suffix == ".mp4":
        page_of = path.parent.with_name(f"{path.parent.name.removesuffix(VIDEOS_BESIDE)}.html")
        return (
            path.parent.name.endswith(VIDEOS_BESIDE)
            and is_ours(page_of)
            and f"{quote(path.parent.name)}/".encode() in page_of.read_bytes()
        )
    with open(path, encoding="utf-8") as file:
        head = file.read(2000)
    return head.startswith("<!doctype html>") and (
        '<meta name="generator" content="gfvad report">' in head or set(head.split("\n")) >= OLDER
    )


def write_page(
    contents: Contents,
    plotly: str,
    out: Path,
    staging: Path,
    room: tuple[str, float],
    show: Callable[..., Progress],
) -> None:
    """Writes what belongs at `out` into a folder: the page, and videos that lie beside it. room:
    (mode, megabytes) of videos."""
    videos, max_video_mb = room
    lines = [line_of(clip) for clip in contents.clips]
    order = sorted(range(len(lines)), key=lambda i: -lines[i]["peak"])  # the loudest alarms first
    played = (
        players(
            [line["name"] for line in lines],
            contents.sources,
            order,
            Place(out, staging, owned(out)),
            videos,
            max_video_mb,
            show,
        )
        if lines
        else []
    )
    atomically(
        staging / out.name,
        lambda file: [
            file.write(part.encode("utf-8", "replace"))
            for part in page(contents, lines, order, played, plotly)
        ],
    )


def plotly_script() -> str:
    """The source of plotly.js. Raises DataError where the package is missing."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise DataError(
            f"plotly is missing ({error}); the report's plots need it: pip install -r"
            " launch/requirements-report.txt"
        ) from None
    return get_plotlyjs()


def overview(
    contents: Contents,
    lines: Sequence[Mapping[str, Any]],
    order: Sequence[int],
    played: Sequence[Player],
) -> dict[str, Any]:
    """What the page lists: videos in the order of their peaks, each with the number of its
    block."""
    listed = [{**lines[i], "id": i, "player": played[i].kind} for i in order]
    top = max((line["peak"] for line in lines), default=0.0)
    bounded = all(clip["bounded"] for clip in contents.clips)
    return {
        "kind": contents.kind,
        "facts": contents.facts,
        "threshold": contents.threshold,
        "top": 1.0 if bounded else max(top, contents.threshold or 0.0) or 1.0,
        "videos": listed,
        "failed": [*contents.failed, *contents.damaged],
        "tables": contents.tables,
        "settings": contents.settings,
    }


def page(
    contents: Contents,
    lines: Sequence[Mapping[str, Any]],
    order: Sequence[int],
    played: Sequence[Player],
    plotly: str,
) -> Iterator[str]:
    """The HTML, piece by piece: embedded videos may be many megabytes."""
    scripts = [script(plotly), *(script(own(name)) for name in SCRIPTS)]
    head, foot = re.split(r"\{\{ data \}\}", own("template.html"))
    values = {
        "title": escape(contents.title),
        "style": own("report.css"),
        "policy": policy(scripts),
        "scripts": "\n".join(f"<script>{s}</script>" for s in scripts),
    }

    def filled(text: str) -> str:
        return re.sub(r"\{\{ (\w+) \}\}", lambda match: values[match[1]], text)

    yield filled(head)
    yield block("whole", overview(contents, lines, order, played))
    for i, clip in enumerate(contents.clips):
        player = played[i]
        shown = {
            "kind": player.kind,
            "src": player.media if player.kind == "linked" else "",
            "note": player.note,
        }
        yield block(f"clip-{i}", {**clip, "player": shown})
        if player.kind == "embedded":
            yield f'<script type="text/plain" id="media-{i}">{player.media}</script>\n'
    yield filled(foot)


def own(name: str) -> str:
    """A file of this folder."""
    return resources.files("gfvad.reporting").joinpath(name).read_text(encoding="utf-8")


def block(name: str, tree: Any) -> str:
    """Data that a script reads: '<' is written as an escape, so that no text in it can end the
    block or begin another."""
    text = json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return (
        '<script type="application/json"'
        f' id="{name}">{text.encode("utf-8", "replace").decode()}</script>\n'
    )


def script(text: str) -> str:
    """A script as it may stand in HTML. Raises DataError where it holds its own end."""
    if "</script" in text.lower():
        raise DataError(
            "a script holds '</script', so it cannot stand in a page; expected plotly's own:"
            " install launch/requirements-report.txt again"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts, own styles, pictures and videos from the page
    or the disk, no connection to anywhere."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " media-src 'self' file: blob: data:; base-uri 'none'; form-action 'none'"
    )
