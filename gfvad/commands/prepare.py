"""Checks a folder of features, or writes it as records.

    gfvad prepare --dataset=xd_violence --source=/data/xd_violence --check
    gfvad prepare --dataset=ucf_crime --source=/data/ucf --check --deep
    gfvad prepare --dataset=xd_violence-simulated --source=/data/simulated --out=/data/records

--check says what is wrong with a folder; without it a quick check comes first, then records.
xd_violence-simulated writes the simulated set to --source first. More: docs/data.md.

Exit codes: 0 done, 1 the check found errors, 2 bad arguments or unreadable input.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import ConfigError, command
from gfvad.base.names import nearest
from gfvad.base.options import Parser

SIMULATED = "xd_violence-simulated"
DATASETS = {  # name -> (layout, default modalities)
    "xd_violence": ("xd_violence", ("rgb", "audio")),
    SIMULATED: ("xd_violence", ("rgb", "audio")),
    "ucf_crime": ("ucf_crime", ("i3d",)),
    "ucf_logits": ("ucf_logits", ("i3d_logits",)),
    "shanghaitech": ("shanghaitech", ("i3d",)),
    "tevad": ("tevad", ("i3d", "text")),
    "ped2_weak": ("ped2_weak", ("motion", "appearance", "text")),
    "vadclip": ("vadclip", ("clip",)),
    "generic": ("generic", ("x",)),
}
EXIT_ERRORS_FOUND = 1


def parse_words(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Raises ConfigError for a dataset that is not known (with the nearest
    that is) and for missing folders."""
    parser = Parser("gfvad prepare", __doc__)
    option, captions = parser.add_argument, "captions.json there; ped2_weak: see docs/data.md"
    option("--dataset", required=True, help=f"one of {', '.join(DATASETS)}")
    option("--source", required=True, help="folder of the features (generic: also one .npz)")
    option("--out", help="folder of the records to write")
    option("--check", action="store_true", help="only check, and print what is wrong with names")
    option("--deep", action="store_true", help="read the whole set once, for NaN and infinity")
    option("--modalities", default="", help="joined by commas (default: those of the dataset)")
    option("--captions", default="", help=f"JSON of timed sentences in --source ({captions})")
    option("--text-encoder", help="sentence encoder of the modality text (default: minilm)")
    option("--all", action="store_true", help="print every name, not the first five of a kind")
    arguments = parser.parse_args(argv)
    if arguments.dataset not in DATASETS:
        known = f"{nearest(arguments.dataset, list(DATASETS))} (one of {', '.join(DATASETS)})"
        raise ConfigError(f"--dataset={arguments.dataset}: not a dataset{known}")
    if not arguments.check and not arguments.out:
        raise ConfigError(
            "--out=DIR is missing: the folder of the records to write (or --check to only check)"
        )
    return arguments


def data_config(arguments: argparse.Namespace):
    """config.data as this command line means it, all else at its default."""
    from gfvad.settings.kinds import default_config

    cfg = default_config().data
    cfg.dataset, (cfg.layout, modalities) = arguments.dataset, DATASETS[arguments.dataset]
    cfg.root = str(Path(arguments.source).expanduser())
    given = tuple(m.strip() for m in arguments.modalities.split(",") if m.strip())
    cfg.modalities = given or modalities
    cfg.captions = arguments.captions
    cfg.text_encoder = arguments.text_encoder or cfg.text_encoder
    return cfg


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line, check and then (without --check) records; returns the exit code."""
    arguments = parse_words(argv)
    # after the arguments are known to be sound
    from gfvad.data.features import audit, layouts
    from gfvad.data.features.layouts import parts

    cfg = data_config(arguments)
    if arguments.dataset == SIMULATED:
        from gfvad.data import simulate

        cfg.root = str(simulate.simulated_folder(Path(cfg.root), cfg.simulated))
        print(f"simulated set: {cfg.root}")
    layout = layouts.open_layout(cfg)
    report = audit.audit(layout, deep=arguments.deep)
    if arguments.check or report.errors:
        print(audit.format_report(report, 0 if arguments.all else 5))
    if report.errors:
        return EXIT_ERRORS_FOUND
    print(f"ground truth: {layout.ground_truth}")
    print(f"split: {layout.split_rule}")
    if not arguments.check:
        from gfvad.data.features import records  # tensorflow-datasets: seconds of import

        path = records.prepare(layout, arguments.out)
        for line in parts.passed_over(layout):
            print(f"note: {line}")
        notes = ", ".join(f"{what}: {n} videos" for what, n in sorted(layout.notes.items()) if n)
        print(f"records: {path}" + (f" ({notes})" if notes else ""))
    return 0
