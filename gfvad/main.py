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
    from gfvad.settings import config as config_lib

    arguments = config_lib.parse(argv)
    if arguments is None:
        return 0
    # after the command line is known to be sound: these imports cost seconds
    predictive = arguments.config.get("kind", "weak") == "predictive"
    if arguments.data is not None:
        from gfvad.tasks import other_data

        return (other_data.evaluate_clips if predictive else other_data.evaluate)(arguments)
    if predictive:
        from gfvad.tasks.prediction import job
    elif arguments.mode == "score":
        from gfvad.tasks.fusion import score_features as job
    else:
        from gfvad.tasks.fusion import job

    return getattr(job, arguments.mode)(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
