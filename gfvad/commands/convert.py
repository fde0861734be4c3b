"""Makes a run of a checkpoint of the authors' predictive model (SIB-VAD).

    gfvad convert best.pth --out=runs/authors --config.data.root=/data/ped2
    gfvad convert best.pth --out=runs/authors --config=ped2:paper --config.data.root=/data/ped2
    gfvad convert best.pth --out=runs/avenue --config=avenue:paper --config.data.root=/data/avenue

The checkpoint is one of torch.save. Its weights are read by name, and nothing in it is run. The run
is evaluated as any other: gfvad evaluate --workdir=RUN (docs/predictive.md).

  --out=DIR                 folder of the run, a new one
  --config=NAME:paper       the set that it is for (default: the one whose bottleneck it has)
  --config.KEY=VALUE        another value of a setting, as the place of the frames
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import EXIT_DONE, ConfigError, command
from gfvad.base.options import joined

SETS = {8: "ped2:paper", 16: "shanghaitech_semi:paper", 192: "avenue:paper"}  # by bottleneck


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    words = joined(argv)
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return EXIT_DONE
    files = [word for word in words if not word.startswith("--")]
    outs = [word.removeprefix("--out=") for word in words if word.startswith("--out=")]
    if len(files) != 1 or len(outs) != 1 or not outs[0]:
        raise ConfigError("expected one checkpoint and --out=DIR (see gfvad convert --help)")
    path, out = Path(files[0]).expanduser(), Path(outs[0]).expanduser()
    rest = [word for word in words if word.startswith("--") and not word.startswith("--out=")]
    from gfvad.tasks import parse
    from gfvad.tasks.prediction import converted

    if not any(word.startswith("--config=") for word in rest):
        sizes, _ = converted.read_authors(path)
        if sizes.bottleneck not in SETS:
            raise ConfigError(
                f"{path}: a bottleneck of {sizes.bottleneck}, of no published set"
                f" ({', '.join(map(str, SETS))}); say which by --config=NAME:paper"
            )
        rest.append(f"--config={SETS[sizes.bottleneck]}")
    arguments = parse([*rest, f"--workdir={out}"])
    count = converted.write_run(path, arguments.config, out)
    print(f"converted {path}: {count:,} parameters\nevaluate  gfvad evaluate --workdir={out}")
    return EXIT_DONE
