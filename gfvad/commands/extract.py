"""Makes features of your own videos, for training and scoring.

    gfvad extract /data/fights --out=runs/fights/features --normal=noFight --abnormal=fight
    gfvad extract /data/new_videos --out=runs/fights/unlabelled --modalities=motion,appearance
    gfvad extract /data/fights --out=runs/fights/by-network --encoder=appearance=efficientnet

Folders are searched through for what PyAV decodes, whatever its name; what is hidden is passed
over, what is no video is named at the end. A video is cut into units of 16 frames as they are
decoded, and each unit gets a vector a modality:

    motion      optical flow and frame differences
    appearance  outlines and colours of the picture
    audio       the spectrum of 0.96 s of sound around it
    others      text, objects, networks of your own: --encoder, see gfvad/encoders/registry.py

No weights are needed for the first three, and nothing is ever downloaded. Where a video has no
sound, its audio is zeros and the manifest says so.

DIR then holds MODALITY/NAME.npy float32 [units, numbers] (NAME: path below the given folder, '__'
for '/'), units.csv (seconds of every unit), frame_counts.txt, manifest.json (versions, settings,
and of every file its size, SHA-256, frame rate, units, what it lacks; or why it failed) and, with
labels, labels.csv and spans.csv: config.data.layout = "generic" reads it. --layout=xd writes
XD-Violence's folders and names instead (appearance in the place of RGB, motion in that of Flow,
audio in that of VGGish) of videos that are named as XD-Violence names them.

The labels are those of whole videos. Without a column `split`, the videos whose file names have the
smallest SHA-256 are for testing, a fifth of each label (--test-fraction), or another fifth
(--fold=1 to 4: the same command with another fold only writes the labels anew). An abnormal test
video without spans counts as abnormal from its first frame to its last.

`gfvad extract describe` writes descriptions by a vision-language model on this machine.

Files are worked on by --workers processes (default: one a core). The same command again does what
is left: files that are new or changed, modalities whose encoder or settings changed, files that
failed. Ctrl-C and SIGTERM stop it at the next unit. One bad file does not stop the others.

Exit codes: 0 done; 1 some files failed (listed at the end with their reasons) or the disk is full;
2 bad arguments; 130 / 143 interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gfvad.base.errors import command
from gfvad.base.options import Parser


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    if argv[:1] == ["describe"]:
        return describe_videos(argv[1:])
    from gfvad.extraction import job, planning

    parser = planning.argument_parser("gfvad extract", __doc__)
    workers = "processes (default: one a core; 0: no others than this one)"
    parser.add_argument("--workers", type=int, default=-1, help=workers)
    return job.run_extraction(parser.parse_args(argv))


def describe_videos(argv: Sequence[str]) -> int:
    """Describes frames by a vision-language model on this machine, as JSON lines.

    gfvad extract describe --root=/data/ped2 --split=test --model=/models/NAME --out=said.jsonl

    The model is any of transformers' image-text-to-text models, in a folder (nothing is
    downloaded). Needs torch, transformers and pillow (launch/requirements-encoders.txt). What was
    written is kept: a later call goes on behind it. `gfvad extract --descriptions=FILE` reads it.
    """
    from gfvad.data.frames.cache import Cache
    from gfvad.data.frames.store import open_frames
    from gfvad.data.frames.video_folders import open_layout
    from gfvad.extraction import describe as lib

    parser = Parser("gfvad extract describe", describe_videos.__doc__)
    option, size = parser.add_argument, {"nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
    option("--root", required=True, help="the set's folder")
    option("--model", required=True, help="folder of the model")
    option("--out", required=True, help="JSON lines to write")
    option("--split", default="test", choices=("train", "test"))
    option("--layout", default="auto", help="of the set (default: as it looks)")
    option("--every", type=int, default=1, help="frames from one description to the next")
    option("--prompt", default=lib.PROMPT, help="what the model is asked")
    option("--size", type=int, default=(384, 576), help="pixels of the frames shown", **size)
    option("--cache", default=os.environ.get("GFVAD_CACHE") or "~/.cache/gfvad")
    args = parser.parse_args(argv)
    folder = open_layout(args.layout, args.root)
    store = open_frames(folder, args.split, (*args.size, 3), Cache(args.cache))
    lib.describe_frames(store, args.model, args.out, every=args.every, prompt=args.prompt)
    return 0
