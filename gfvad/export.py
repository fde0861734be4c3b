"""A trained run as a self-contained artefact, which scores without the training code and its
configuration.

    python -m gfvad.export --workdir=runs/NAME --out=exported/NAME [--checkpoint=last] [--platforms=cpu,cuda,tpu]

The artefact is used by `python -m gfvad.score --model=exported/NAME VIDEO...`, or, in an
environment with its own requirements.txt alone, by its score.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import Parser, command


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 2 bad input."""
    parser = Parser(prog="python -m gfvad.export", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workdir", required=True, type=Path, help="folder of the run")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument(
        "--checkpoint", default="last", help="last, best (on validation), or a step"
    )
    parser.add_argument("--platforms", default="cpu,cuda,tpu", help="what it is to run on")
    args = parser.parse_args(argv)
    from gfvad.tasks.fusion import artefact  # imports jax

    manifest = artefact.write(
        args.workdir, args.out, args.checkpoint, [p for p in args.platforms.split(",") if p]
    )
    print(
        f"exported {args.out}: {manifest['name']}, for {', '.join(manifest['platforms'])}; scores"
        f" differ by {manifest['difference']:.1e} from the run's"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
