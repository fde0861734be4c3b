"""Runs cases: copies the inputs, changes one, runs the command in a child, has it judged."""

from __future__ import annotations

import dataclasses
import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gfvad.bench.fuzz import cases, oracle, places, sound
from gfvad.bench.fuzz.commands import COMMANDS, Command, call
from gfvad.bench.fuzz.effect import SAME, Context, Effect
from gfvad.bench.fuzz.fork import Child, run_all
from gfvad.bench.fuzz.oracle import Verdict
from gfvad.bench.fuzz.sizes import OWN, SMALL

GROUPS = {  # what else a message may name: files that belong together
    "records": ("records/", "records:"),
    "checkpoints": ("/checkpoints/4", "/checkpoints/2", "checkpoints:"),
}
DIED = {"effect": Effect(SAME)._asdict()}


@dataclasses.dataclass
class Trial:
    """A case on its way."""

    case: cases.Case
    folder: Path
    child: Child | None = None
    verdict: Verdict | None = None
    told: dict[str, Any] = dataclasses.field(default_factory=dict)

    def describe(self) -> str:
        """What was done, small enough to read."""
        effect = self.told.get("effect", {})
        told = [word for word in self.told.get("argv", ()) if word not in (*SMALL, OWN)]
        words = " ".join(map(ascii_of, told))
        target = f"{self.told.get('target', '?')} ({effect.get('note', '')})"
        what = f"{self.case.mutation.__name__} of {target} [{effect.get('expect')}]"
        return f"case {self.case.number} {self.case.kind}: {what}: {self.case.command}: {words}"


def ascii_of(word: str) -> str:
    """A word that any terminal can show."""
    return word if word.isascii() and word.isprintable() else ascii(word)


def worker(trial: Trial, root: Path, limit: float) -> Callable[[], int]:
    """What the child of a case does."""
    case, command, folder = trial.case, COMMANDS[trial.case.command], trial.folder

    def work() -> int:
        sound.copy(root, command.needs, folder)
        targets = sorted(
            {
                p
                for pattern in case.pool.targets
                for p in folder.glob(pattern)
                if p.is_file() and not p.is_symlink()
            }
        )
        targets = targets or sorted(
            folder / name for name in command.needs
        )  # for what changes no file of them
        context = Context(case.rng, folder, case.rng.choice(targets), command.argv)
        effect = case.mutation(context)
        argv = (*(effect.argv or command.argv), *effect.extra)
        names = (*effect.names, *GROUPS.get(case.kind, ()))
        told = {
            "effect": effect._asdict() | {"argv": None, "names": names},
            "argv": argv,
            "target": str(context.path.relative_to(folder)),
            "limit": limit,
        }
        keep(folder, told)
        before = places.snapshot(folder)
        (folder / ".fuzz" / "before.json").write_text(json.dumps(before))
        return finish(command, folder, told, call(command.module, argv))

    return work


def keep(folder: Path, told: dict[str, Any]) -> None:
    """What the parent will read."""
    (folder / ".fuzz" / "told.json").write_text(json.dumps(told))


def finish(command: Command, folder: Path, told: dict[str, Any], code: int) -> int:
    """Takes the digest of what a command wrote."""
    import sys

    sys.stdout.flush()
    made = (
        any((folder / place).exists() for place in command.outputs if place != "cache")
        or not command.outputs
    )
    if made and code in (0, 1, command.sound_exit) or code == 0:
        try:
            told["digest"] = command.digest(folder)
        except Exception as error:  # noqa: BLE001 - not readable: the oracle's to judge
            told["unreadable"] = f"{type(error).__name__}: {error}"[:300]
    told["not_finite"], told["secret"] = (
        places.not_finite(folder, [p for p in command.outputs if p != "cache"]),
        places.secret_in(folder, command.outputs),
    )
    told["page"] = "".join(
        p.read_text(errors="replace")[:3_000_000]
        for place in command.outputs
        if place != "cache"
        for p in sorted(folder.glob(f"{place}*/*.html" if place == "out" else place))
        if p.suffix == ".html"
    )
    told["code"] = code
    keep(folder, told)
    return code


class Fuzzer:
    """Sound inputs, and what each command makes of them; `run` tries cases."""

    def __init__(self, folder: Path, root: Path, seed: int, jobs: int, limit: float):
        self.folder, self.root, self.seed = folder, root, seed
        self.jobs, self.limit = jobs, limit
        self.sound: dict[str, dict[str, Any]] = {}

    def baselines(self, commands: Sequence[str]) -> None:
        """Results of the unchanged inputs, and of older checkpoints; RuntimeError if one fails."""
        for name in commands:
            self.sound[name] = {
                "digests": [],
                "exit": COMMANDS[name].sound_exit,
                "local": COMMANDS[name].local,
            }
        wanted = [
            (name, older)
            for name in commands
            for older in ((False, True) if COMMANDS[name].older else (False,))
        ]
        children = [self._baseline(name, older) for name, older in wanted]
        run_all(children, self.jobs, self._take)

    def _baseline(self, name: str, older: bool) -> Child:
        folder, command = self.folder / f"sound-{name}{'-older' if older else ''}", COMMANDS[name]

        def work() -> int:
            sound.copy(self.root, command.needs, folder)
            if older:
                for path in folder.glob(command.older):
                    shutil.rmtree(path)
            before = places.snapshot(folder)
            (folder / ".fuzz" / "before.json").write_text(json.dumps(before))
            return finish(command, folder, {}, call(command.module, command.argv))

        return Child(name, folder, folder / ".fuzz", work, 300.0)

    def _take(self, child: Child) -> list[Child]:
        folder = child.out.parent
        told = (
            json.loads((child.out / "told.json").read_text())
            if (child.out / "told.json").is_file()
            else {}
        )
        if child.status != COMMANDS[child.name].sound_exit or "digest" not in told:
            raise RuntimeError(
                f"{child.name} fails on sound inputs ({child.status}, "
                f"{told.get('unreadable', '')}):\n{child.stderr()[-3000:]}"
            )
        wrong = self._written(COMMANDS[child.name], folder)
        if wrong:
            raise RuntimeError(
                f"{child.name} writes outside its outputs on sound inputs: {'; '.join(wrong[:5])}"
            )
        self.sound[child.name]["digests"].append(told["digest"])
        shutil.rmtree(folder)
        return []

    def _written(self, command: Command, folder: Path) -> list[str]:
        before = json.loads((folder / ".fuzz" / "before.json").read_text())
        outputs = list(command.outputs)
        if (folder / "out").is_symlink():
            outputs.append("user")  # where the link leads: files may be added
        return places.written(
            before,
            places.snapshot(folder),
            outputs,
            [p for p in command.outputs if p in command.needs or p == "cache"],
        )

    def run(
        self, drawn: Iterator[cases.Case], kept: Path | None, done: Callable[[Trial], None]
    ) -> None:
        """Tries cases, done(trial) as each ends. kept: where inputs of bad outcomes stay."""
        trials: dict[Child, Trial] = {}

        def start(trial: Trial, limit: float) -> Child:
            def interrupt() -> float:
                path = trial.folder / ".fuzz" / "told.json"
                if not trial.told and path.is_file():
                    try:
                        trial.told = json.loads(path.read_text())
                    except ValueError:  # it is being written
                        return 0.0
                return float(trial.told.get("effect", {}).get("seconds", 0.0))

            trial.child = Child(
                trial.case.command,
                trial.folder,
                trial.folder / ".fuzz",
                worker(trial, self.root, limit),
                limit,
                interrupt,
            )
            trials[trial.child] = trial
            return trial.child

        def after(child: Child) -> list[Child]:
            trial = trials.pop(child)
            trial.told = (
                json.loads((child.out / "told.json").read_text())
                if (child.out / "told.json").is_file()
                else dict(DIED)
            )
            trial.verdict = self._judge(trial)
            if (
                child.hung and child.limit <= self.limit
            ):  # a busy machine? once more, with more time
                shutil.rmtree(trial.folder)
                again = Trial(cases.draw(self.seed, trial.case.number), trial.folder)
                return [start(again, 2 * self.limit)]
            done(trial)
            bad = trial.verdict.outcome in oracle.BAD
            if bad and kept is not None:
                shutil.rmtree(kept / str(trial.case.number), ignore_errors=True)
                shutil.move(trial.folder, kept / str(trial.case.number))
            else:
                shutil.rmtree(trial.folder, ignore_errors=True)
            return []

        run_all(
            (start(Trial(case, self.folder / f"case-{case.number}"), self.limit) for case in drawn),
            self.jobs,
            after,
        )

    def _judge(self, trial: Trial) -> Verdict:
        child, command = trial.child, COMMANDS[trial.case.command]
        assert child is not None
        if "argv" not in trial.told:
            return Verdict(oracle.NOT_RUN, f"the mutation itself failed: {child.stderr()[-1500:]}")
        if (child.out / "before.json").is_file():
            trial.told["wrong"] = self._written(command, trial.folder)
        said, errors = (
            unicodedata.normalize("NFC", text) for text in (child.stdout(), child.stderr())
        )
        return oracle.judge(
            trial.told, self.sound[trial.case.command], said, errors, child.status or 0, child.hung
        )
