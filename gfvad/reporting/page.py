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


def make_report(
    folder: Path,
    out: Path | None = None,
    videos: str = "auto",
    max_video_mb: float = 100.0,
    video_root: Path | None = None,
    show: Callable[..., Progress] = Progress,
) -> tuple[Path, list[tuple[str, str]]]:
    """Writes the page of a folder of scores, a run or several runs (default: FOLDER/report.html);
    returns its path, and [(what, reason)] of what is damaged and therefore not, or not wholly, in
    the page.

    videos: 'auto' (in the page up to max_video_mb of them, the others linked), 'embed' or 'link';
    video_root: where to look for videos by their names.
    Raises DataError where the folder holds nothing to report on, plotly is missing or the page
    cannot be written; ConfigError for other arguments.
    """
    plotly = plotly_script()
    out = Path(out or Path(folder) / PAGE)
    owned(out).claim([out.name])
    contents = read_folder(Path(folder), video_root)
    own = owned(out)
    with own.locked("folder of a report", [out.name], lock=".gfvad-report.lock"):
        with own.staged(last=out.name) as staging:
            write_page(contents, plotly, Place(out, staging, own, videos, max_video_mb), show)
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
    contents: Contents, plotly: str, place: Place, show: Callable[..., Progress]
) -> None:
    """Writes what belongs at a place into its staging folder: the page, and videos that lie beside
    it."""
    lines = [line_of(clip) for clip in contents.clips]
    order = sorted(range(len(lines)), key=lambda i: -lines[i]["peak"])  # the loudest alarms first
    names = [line["name"] for line in lines]
    played = players(names, contents.sources, order, place, show) if lines else []
    pieces = page(contents, lines, order, played, plotly)
    encoded = (piece.encode("utf-8", "replace") for piece in pieces)
    atomically(place.staging / place.out.name, lambda file: file.writelines(encoded))


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
        address = player.media if player.kind == "linked" else ""
        shown = {"kind": player.kind, "src": address, "note": player.note}
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
    plain = text.encode("utf-8", "replace").decode()
    return f'<script type="application/json" id="{name}">{plain}</script>\n'


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
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " media-src 'self' file: blob: data:; base-uri 'none'; form-action 'none'"
    )
