"""Scores videos, or a camera as it films, by a trained run or an exported model.

    gfvad score --model=runs/fights/model /data/new_videos --out=runs/fights/new
    gfvad score --model=runs/fights/model runs/fights/features --out=runs/fights/scores
    gfvad score --model=runs/fights/model --stream /data/new_videos/film.mp4

Inputs are video files, folders of them or of frames, a folder of `gfvad extract`, or plain files of
features (.npy, .npz, ...). A stream is a file, camera:0 or rtsp://HOST/PATH; --out=DIR keeps its
scores.

DIR gets scores.csv (seconds, score, what each modality adds), alarms.csv (start, end, peak),
scores.npz (a score a frame), and what `gfvad report DIR` makes its page of. A model of fused
features scores units of 16 frames; its features are made by the encoders of its training set, kept
in DIR/features, and what is done is not done again. The predictive model scores every frame. The
threshold of alarms comes from normal training videos; --threshold=X sets another.

One bad file does not stop the others. Exit codes: 0 done; 1 some files gave no scores (listed at
the end with their reasons); 2 bad arguments; 130 / 143 interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import ConfigError, command
from gfvad.base.options import Parser


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    parser = Parser("gfvad score", __doc__)
    option = parser.add_argument
    what = "video files, folders of them, or one folder of features; with --stream one source"
    option("inputs", nargs="+", metavar="VIDEO_OR_FOLDER", help=what)
    option("--model", required=True, type=Path, help="folder of a trained run, or of an export")
    option("--out", type=Path, help="folder of the scores (needed but with --stream)")
    option("--checkpoint", default="last", help="of a run: last, best (on validation), or a step")
    option("--threshold", type=float, help="least score of an alarm (default: the model's own)")
    option("--descriptions", default="", help="JSON lines of them, for a model that reads text")
    weights = "where the weights of a modality's encoder lie on this machine"
    option("--path", action="append", default=[], metavar="MODALITY=FILE", help=weights)
    workers = "processes that extract features (default: one a core; 0: no others than this one)"
    option("--workers", type=int, default=-1, help=workers)
    live = "score as frames come, with no later ones in sight"
    option("--stream", action="store_true", help=live)
    option("--loop", action="store_true", help="with --stream: a file again and again")
    seconds = "with --stream: end after so many seconds of video (default: never)"
    option("--seconds", type=float, default=0.0, help=seconds)
    args = parser.parse_args(argv)
    if not args.stream and any("://" in given for given in args.inputs):
        raise ConfigError("a URL is a stream; expected --stream with it, or files: add --stream")
    from gfvad.scoring import job

    if args.threshold is not None and not math.isfinite(args.threshold):
        raise ConfigError(
            f"--threshold={args.threshold}: expected a finite number on the scale of the model's"
            " scores"
        )
    if not 0 <= args.seconds < math.inf:
        raise ConfigError(f"--seconds={args.seconds}: expected seconds of video, 0 for no end")
    paths = {}
    for text in args.path:
        modality, equals, path = text.partition("=")
        if not (modality and equals and path):
            raise ConfigError(f"--path={text}: expected MODALITY=FILE")
        paths[modality] = path
    if args.out is None and not args.stream:
        raise ConfigError("--out is missing; expected a folder for the scores: give --out=DIR")
    request = job.Request(
        args.model.expanduser(),
        tuple(args.inputs),
        args.out and args.out.expanduser(),
        args.checkpoint,
        args.threshold,
        args.descriptions,
        args.workers,
        paths,
    )
    if args.stream:
        from gfvad.scoring import stream

        return stream.watch(request, args.loop, args.seconds)
    return job.score(request)
