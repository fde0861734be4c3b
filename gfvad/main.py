"""The main job: train, evaluate or score.

python -m gfvad.main --config=configs/xd.py
python -m gfvad.main --mode=evaluate --workdir=runs/NAME
python -m gfvad.main --mode=evaluate --workdir=runs/NAME --data=OTHER --output=FOLDER
python -m gfvad.main --mode=score --workdir=runs/NAME --input=FILE_OR_FOLDER --output=scores.npz
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gfvad.base.errors import command


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 2 bad input, 3 not finite, 130 / 143
    interrupted and saved."""
    # here, so that Ctrl-C at any moment is no traceback
    from gfvad.tasks import parse, task_of

    arguments = parse(argv)
    if arguments is None:
        return 0
    task = task_of(arguments.config)
    if arguments.data is not None:
        return task.evaluate_elsewhere(arguments)
    jobs = {"train": task.train, "evaluate": task.evaluate, "score": task.score_frames}
    return jobs[arguments.mode](arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
