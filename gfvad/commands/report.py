"""Makes one page to look at scores: a report.html that holds all it shows and opens from disk.

    gfvad report runs/fights/scores
    gfvad report runs/fights/model --video-root=/data/fights
    gfvad report runs/fights/model --out=runs/fights/model.html --videos=link

Of a folder of `gfvad score`: scores beside their videos. Of a run: its protocol numbers, and
timelines of its test videos. Of a folder of runs: their headlines, mean and spread over seeds. With
--tables: the tables of README.md and docs/ anew.

Videos lie in the page as H.264, at most 640 pixels wide, as long as all of them stay below
--max-video-mb; beyond that it links to them. A video that cannot be shown does not keep the page
from being written: its section says why. Needs the extras `report` and `video`.

Exit codes: 0 done; 1 the page is written, but something was damaged (listed at the end with its
reason); 2 bad arguments or nothing to report on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import EXIT_SOME_FAILED, command
from gfvad.base.options import Parser
from gfvad.base.secrets import redact


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    parser = Parser("gfvad report", __doc__)
    option, megabytes = parser.add_argument, {"type": float, "default": 100.0, "metavar": "MB"}
    what = "folder of scores, of a run, or of several runs"
    option("folder", metavar="DIR", type=Path, nargs="?", help=what)
    tables = "instead: fill the tables of README.md and docs/ of a checkout (default: the current"
    tables += " folder) from docs/results/*.csv"
    option("--tables", action="store_true", help=tables)
    option("--out", type=Path, help="the page to write (default: DIR/report.html)")
    videos = "in the page, beside it, or in it up to --max-video-mb (default: auto)"
    option("--videos", choices=("auto", "embed", "link"), default="auto", help=videos)
    room = "with --videos=auto: room for videos in the page (default: 100)"
    option("--max-video-mb", help=room, **megabytes)
    places = "where videos lie whose place is not known, found by their names"
    option("--video-root", type=Path, metavar="FOLDER", help=places)
    args = parser.parse_args(argv)
    if args.tables:
        from gfvad.reporting.result_tables import update

        pages = update((args.folder or Path()).expanduser())
        print("\n".join(map(str, pages)) or "every table is as the stored results say")
        return 0
    if args.folder is None:
        parser.error("expected a folder of scores, of a run, or of several runs, or --tables")
    from gfvad.reporting.page import make_report

    path, damaged = make_report(
        args.folder.expanduser(),
        args.out and args.out.expanduser(),
        args.videos,
        args.max_video_mb,
        args.video_root and args.video_root.expanduser(),
    )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    if damaged:
        print(f"{len(damaged)} damaged, and not or not wholly in the page:", file=sys.stderr)
    for what, reason in damaged:
        told = reason if reason.startswith(what) else f"{what}: {reason}"
        print(redact(f"  {told}"), file=sys.stderr)
    return EXIT_SOME_FAILED if damaged else 0
