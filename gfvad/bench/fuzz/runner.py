"""Runs cases: copies the inputs, changes one, runs the command in a child, has it judged."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
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
    """A case that was tried."""

    case: cases.Case
    child: Child
    verdict: Verdict
    told: dict[str, Any]  # what its child kept

    def describe(self) -> str:
        """What was done, small enough to read."""
        effect = self.told.get("effect", {})
        told = [word for word in self.told.get("argv", ()) if word not in (*SMALL, OWN)]
        words = " ".join(w if w.isascii() and w.isprintable() else ascii(w) for w in told)
        target = f"{self.told.get('target', '?')} ({effect.get('note', '')})"
        what = f"{self.case.mutation.__name__} of {target} [{effect.get('expect')}]"
        return f"case {self.case.number} {self.case.kind}: {what}: {self.case.command}: {words}"


def _change(case: cases.Case, folder: Path, limit: float) -> tuple[list[str], dict[str, Any]]:
    """Changes one file of a case; (the command's words, what the judge has to know)."""
    command = COMMANDS[case.command]
    found = {p for pattern in case.pool.targets.split() for p in folder.glob(pattern)}
    targets = sorted(p for p in found if p.is_file() and not p.is_symlink())
    # for what changes no file of them
    targets = targets or sorted(folder / name for name in command.needs)
    context = Context(case.rng, folder, case.rng.choice(targets), command.argv)
    effect = case.mutation(context)
    argv = [*(effect.argv or command.argv), *effect.extra]
    names = (*effect.names, *GROUPS.get(case.kind, ()))
    return argv, {
        "effect": effect._asdict() | {"argv": None, "names": names},
        "argv": argv,
        "target": str(context.path.relative_to(folder)),
        "limit": limit,
    }


def _keep(folder: Path, name: str, tree: dict[str, Any]) -> None:
    (folder / ".fuzz" / name).write_text(json.dumps(tree))


def _kept(folder: Path, name: str) -> dict[str, Any]:
    """What a child kept; nothing where it did not come that far, or just writes it."""
    try:
        return json.loads((folder / ".fuzz" / name).read_text())
    except (OSError, ValueError):
        return {}


def _run(command: Command, folder: Path, argv: Sequence[str], told: dict[str, Any]) -> int:
    """Runs a command in its folder, and keeps what it wrote for the parent."""
    _keep(folder, "told.json", told)
    _keep(folder, "before.json", places.snapshot(folder))
    code = call(command.module, argv)
    sys.stdout.flush()
    made = not command.output or (folder / command.output).exists()
    if code == 0 or (made and code == 1):
        try:
            told["digest"] = command.digest(folder)
        except Exception as error:  # noqa: BLE001 - not readable: the oracle's to judge
            told["unreadable"] = f"{type(error).__name__}: {error}"[:300]
    told["not_finite"] = places.not_finite(folder, command.outputs[:1])
    told["secret"] = places.secret_in(folder, command.outputs)
    pages = "out*/*.html" if command.output == "out" else command.output or "no page"
    told["page"] = "".join(
        p.read_text(errors="replace")[:3_000_000]
        for p in sorted(folder.glob(pages))
        if p.suffix == ".html"
    )
    _keep(folder, "told.json", told)
    return code


def _wrong(command: Command, folder: Path) -> list[str]:
    """What a command wrote elsewhere. Where its output is a link, files may be added there."""
    outputs = (*command.outputs, *(["user"] if (folder / "out").is_symlink() else []))
    own = [p for p in command.outputs if p in command.needs or p == "cache"]
    return places.written(_kept(folder, "before.json"), places.snapshot(folder), outputs, own)


class Fuzzer:
    """Sound inputs, and what each command makes of them; `run` tries cases."""

    def __init__(self, folder: Path, root: Path, seed: int, jobs: int, limit: float):
        self.folder, self.root, self.seed = folder, root, seed
        self.jobs, self.limit = jobs, limit
        self.sound: dict[str, dict[str, Any]] = {}

    def baselines(self, commands: Sequence[str]) -> None:
        """Results of the unchanged inputs, and of older checkpoints; RuntimeError if one fails."""
        self.sound = {name: {"digests": [], "local": COMMANDS[name].local} for name in commands}
        wanted = [(name, older) for name in commands for older in ("", COMMANDS[name].older)]
        wanted = list(dict.fromkeys(wanted))
        run_all([self._baseline(*one) for one in wanted], self.jobs, self._take)

    def _baseline(self, name: str, older: str) -> Child:
        folder, command = self.folder / f"sound-{name}{'-older' if older else ''}", COMMANDS[name]

        def work() -> int:
            sound.copy_inputs(self.root, command.needs, folder)
            if older:
                shutil.rmtree(folder / older)
            return _run(command, folder, command.argv, {})

        return Child(name, folder, folder / ".fuzz", work, 300.0)

    def _take(self, child: Child) -> list[Child]:
        told, command = _kept(child.out.parent, "told.json"), COMMANDS[child.name]
        if child.status != 0 or "digest" not in told:
            raise RuntimeError(
                f"{child.name} fails on sound inputs ({child.status}, "
                f"{told.get('unreadable', '')}):\n{child.said('stderr')[-3000:]}"
            )
        if wrong := "; ".join(_wrong(command, child.out.parent)[:5]):
            raise RuntimeError(f"{child.name} writes outside its outputs on sound inputs: {wrong}")
        self.sound[child.name]["digests"].append(told["digest"])
        shutil.rmtree(child.out.parent)
        return []

    def run(
        self, drawn: Iterator[cases.Case], kept: Path | None, done: Callable[[Trial], None]
    ) -> None:
        """Tries cases, done(trial) as each ends. kept: where inputs of bad outcomes stay."""
        running: dict[Child, cases.Case] = {}

        def start(case: cases.Case, limit: float) -> Child:
            folder, command = self.folder / f"case-{case.number}", COMMANDS[case.command]
            told: dict[str, Any] = {}

            def work() -> int:
                sound.copy_inputs(self.root, command.needs, folder)
                return _run(command, folder, *_change(case, folder, limit))

            def interrupt() -> float:
                told.update({} if told else _kept(folder, "told.json"))
                return float(told.get("effect", {}).get("seconds", 0.0))

            child = Child(case.command, folder, folder / ".fuzz", work, limit, interrupt)
            running[child] = case
            return child

        def after(child: Child) -> list[Child]:
            case, folder = running.pop(child), child.out.parent
            if child.hung and child.limit <= self.limit:  # a busy machine? again, with more time
                shutil.rmtree(folder)
                return [start(cases.draw(self.seed, case.number), 2 * self.limit)]
            told = _kept(folder, "told.json") or dict(DIED)
            trial = Trial(case, child, self._judge(case, child, told), told)
            done(trial)
            if trial.verdict.outcome in oracle.BAD and kept is not None:
                shutil.rmtree(kept / str(case.number), ignore_errors=True)
                shutil.move(folder, kept / str(case.number))
            else:
                shutil.rmtree(folder, ignore_errors=True)
            return []

        run_all((start(case, self.limit) for case in drawn), self.jobs, after)

    def _judge(self, case: cases.Case, child: Child, told: dict[str, Any]) -> Verdict:
        said, errors = (
            unicodedata.normalize("NFC", child.said(name)) for name in ("stdout", "stderr")
        )
        if "argv" not in told:
            return Verdict(oracle.NOT_RUN, f"the mutation itself failed: {errors[-1500:]}")
        if (child.out / "before.json").is_file():
            told["wrong"] = _wrong(COMMANDS[case.command], child.out.parent)
        status = child.status or 0
        return oracle.judge(told, self.sound[case.command], said, errors, status, child.hung)
