"""Writes a trained run as an artefact: the model as one compiled program.

    gfvad export --workdir=runs/fights/model --out=runs/fights/export
    gfvad export --workdir=runs/fights/model --out=runs/fights/export-cpu --platforms=cpu
    gfvad export --workdir=runs/fights/model --out=runs/fights/export-last --checkpoint=last

The artefact is used by `gfvad score --model=DIR VIDEO...`. That of a model of fused features also
scores features by its score.py, in an environment with its own requirements.txt alone; that of the
predictive model needs gfvad for reading videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import command
from gfvad.base.options import Parser


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    parser = Parser("gfvad export", __doc__)
    parser.add_argument("--workdir", required=True, type=Path, help="folder of the run")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument(
        "--checkpoint", default="last", help="last, best (on validation), or a step"
    )
    parser.add_argument("--platforms", default="cpu,cuda,tpu", help="what it is to run on")
    args = parser.parse_args(argv)
    from gfvad.settings import config as config_lib
    from gfvad.tasks import task_of  # a task's imports cost seconds

    platforms = [name for name in args.platforms.split(",") if name]
    task = task_of(config_lib.load(str(args.workdir)))
    manifest = task.export(args.workdir, args.out, args.checkpoint, platforms)
    print(
        f"exported {args.out}: {manifest['name']}, for {', '.join(manifest['platforms'])}; scores"
        f" differ by {manifest['difference']:.1e} from the run's"
    )
    return 0
