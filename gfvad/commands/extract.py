"""Makes features of your own videos, for training and scoring.

    gfvad extract /data/fights --out=runs/fights/features --normal=noFight --abnormal=fight
    gfvad extract /data/new_videos --out=runs/fights/unlabelled --modalities=motion,appearance
    gfvad extract /data/fights --out=runs/fights/by-network --encoder=appearance=efficientnet

Folders are searched through for what PyAV decodes, whatever its name; what is hidden is passed
over, what is no video is named at the end. A video is cut into units of 16 frames as they are
decoded, and each unit gets a vector a modality:

    motion        optical flow and frame differences             appearance   outlines and colours
                  of the picture
    audio         the spectrum of 0.96 s of sound around it      text, objects and networks of your
                  own: --encoder, see gfvad/encoders/registry.py

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

Files are worked on by --workers processes (default: one a core). The same command again does what
is left: files that are new or changed, modalities whose encoder or settings changed, files that
failed. Ctrl-C and SIGTERM stop it at the next unit. One bad file does not stop the others.

Exit codes: 0 done; 1 some files failed (listed at the end with their reasons) or the disk is full;
2 bad arguments; 130 / 143 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

from gfvad.base.errors import command


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    from gfvad.extraction import job

    parser = job.parser("gfvad extract", __doc__)
    parser.add_argument(
        "--workers",
        type=int,
        default=-1,
        help="processes (default: one a core; 0: no others than this one)",
    )
    return job.run(parser.parse_args(argv))
