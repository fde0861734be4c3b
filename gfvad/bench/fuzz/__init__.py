"""`gfvad bench fuzz`: mutated inputs of ten kinds, given to the commands that read them.

    gfvad bench fuzz --cases=1000 --seed=0
    gfvad bench fuzz --seed=0 --case=137 --keep=DIR     one again; inputs stay in DIR/137

Sound inputs (features in several layouts, tables, captions, videos, a trained run, its checkpoints,
records, artefact, scores) are made first, by the project's own commands. A case copies what its
command needs, changes one thing and runs the command in a fork of this process. Outcomes:

    right             the sound result; another, where the change is legitimate; or it is named what
                      was passed over
    clear error       one line that names the file, the key or the place, and exit code 1 to 3
    unclear error     an error that names nothing, holds a password, or asks to be reported
    raw traceback     an exception, or an end by a signal
    hang              no end within --limit seconds, nor within twice as long
    silent wrong      exit code 0 and another result without a word, or numbers that are not finite;
                      a sound input that is refused
    written outside   a file changed, made or removed that is none of the command's own
    not run           a fault of the fuzzer itself

Exit codes: 0 all right or clear errors; 1 other outcomes, each listed with its case.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.options import Parser


def run(argv: Sequence[str]) -> int:
    """Runs the cases of a command line and prints a table; returns the exit code."""
    parser = Parser("gfvad bench fuzz", __doc__)
    option, cores = parser.add_argument, os.cpu_count() or 1
    option("--cases", type=int, default=200, help="how many (default: 200)")
    option("--seed", type=int, default=0)
    option("--only", default="", metavar="KIND", help="of these cases, those of one kind")
    option("--case", type=int, metavar="N", help="this one alone")
    option("--keep", type=Path, metavar="DIR", help="what a bad outcome was made of, in DIR/N")
    option("--json", type=Path, metavar="FILE", help="all outcomes, as JSON")
    option("--sound", type=Path, metavar="DIR", help="of the sound inputs (default: made anew)")
    option("--jobs", type=int, default=cores, help="cases at once (default: one a core)")
    option("--limit", type=float, default=30.0, metavar="S", help="seconds of a case (default: 30)")
    arguments = parser.parse_args(list(argv))
    folder = Path(tempfile.mkdtemp(prefix="gfvad-fuzz-")).resolve()
    root = (arguments.sound or folder / "sound").resolve()
    from gfvad.bench.fuzz import fork

    # before any library is read
    os.environ |= fork.environment(root.parent / f"{root.name}-compiled")
    from gfvad.bench.fuzz import cases, oracle, runner, sound

    if arguments.only and arguments.only not in cases.KINDS:
        raise SystemExit(
            f"gfvad.bench fuzz: --only={arguments.only}; expected one of {', '.join(cases.KINDS)}"
        )
    keep = arguments.keep and arguments.keep.resolve()
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    # the folder and the children go too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    began = time.monotonic()
    trials: list[runner.Trial] = []
    try:
        fork.read_libraries()
        sound.make(root, arguments.jobs)
        numbers = range(arguments.cases) if arguments.case is None else (arguments.case,)
        drawn = [cases.draw(arguments.seed, n) for n in numbers]
        drawn = [case for case in drawn if arguments.only in ("", case.kind)]
        fuzzer = runner.Fuzzer(folder, root, arguments.seed, arguments.jobs, arguments.limit)
        fuzzer.baselines(sorted({case.command for case in drawn}))
        ready, spent = time.monotonic(), sum(os.times()[2:4])

        def done(trial: runner.Trial) -> None:
            trials.append(trial)
            if trial.verdict.outcome in oracle.BAD or arguments.case is not None:
                what = f"{trial.verdict.outcome.upper()}  seed {arguments.seed} {trial.describe()}"
                print(f"{what}\n    {trial.verdict.why}", flush=True)

        fuzzer.run(iter(drawn), keep, done)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    counts = Counter((t.case.kind, t.verdict.outcome) for t in trials)
    print(outcome_table(counts, cases.KINDS, oracle.OUTCOMES))
    spent = sum(os.times()[2:4]) - spent  # of processor time, by children
    took = f"{len(trials)} cases in {time.monotonic() - ready:.0f} s ({spent:.0f} s of processors)"
    print(f"\nseed {arguments.seed}: {took}, after {ready - began:.0f} s for the sound inputs")
    if arguments.json:
        write_outcomes(arguments.json, arguments.seed, trials)
    return int(any(t.verdict.outcome in oracle.BAD for t in trials))


def outcome_table(counts: Counter, kinds: Sequence[str], outcomes: Sequence[str]) -> str:
    """Outcomes of each kind, and their sums."""
    rows = {kind: [counts[kind, name] for name in outcomes] for kind in kinds}
    rows = {kind: row for kind, row in rows.items() if any(row)}
    rows["total"] = [sum(counts[kind, name] for kind in kinds) for name in outcomes]
    lines = [f"{'':12s}" + "".join(f"{name:>17s}" for name in outcomes)]
    lines += [f"{kind:12s}" + "".join(f"{n:17d}" for n in row) for kind, row in rows.items()]
    return "\n".join(lines)


def write_outcomes(path: Path, seed: int, trials: Sequence) -> None:
    """Every case with its outcome, in order."""
    from gfvad.base import files

    rows = [
        {
            "case": t.case.number,
            "kind": t.case.kind,
            "command": t.case.command,
            "mutation": t.case.mutation.__name__,
            "target": t.told.get("target"),
            "expected": t.told["effect"]["expect"],
            "note": t.told["effect"]["note"],
            "argv": t.told.get("argv"),
            **t.verdict._asdict(),
            "exit": t.child.status,
            "seconds": round(t.child.seconds, 2),
        }
        for t in sorted(trials, key=lambda t: t.case.number)
    ]
    files.write_json(path, {"seed": seed, "cases": rows})
