"""What a run learns from and is evaluated on, by content: by the names of its videos alone,
another set of the same names would pass for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.files import read_json
from gfvad.base.locks import locked
from gfvad.base.names import first_of
from gfvad.base.types import ConfigError, DataError

RESULTS = "results.json"
# keys of results.json: digests of the data; the run and the folder, where that is not the run's own
CONTENT, ON = "content", "evaluated_on"
WRITTEN = ("results.md", "scores.npz", "paired.npz", "figures")  # what an evaluation writes besides


class Learnt(NamedTuple):
    """Data as a run's checkpoints and results know it."""

    name: str  # `repr` of its records: dataset, split, number and names of its videos, modalities
    # part ("rgb", "labels and spans", ...) -> digest; {} where it is not known (data of earlier
    # versions)
    content: Mapping[str, str] = {}

    def differences(self, other: Mapping[str, str]) -> list[str]:
        """The parts that both know and that differ."""
        return sorted(p for p, digest in self.content.items() if other.get(p, digest) != digest)


def learnt(records: Any) -> Learnt:
    """The identity of a split of records, or of clips."""
    return Learnt(repr(records), dict(getattr(records, "content", {})))


def stated(**splits: Any) -> dict[str, Any]:
    """What results.json says of the data: {"content": {split: digests}}, and {"skipped": {split:
    {video: why}}} where videos were left out."""
    found = {CONTENT: {name: dict(learnt(split).content) for name, split in splits.items()}}
    left_out = {name: dict(getattr(split, "skipped", {})) for name, split in splits.items()}
    skipped = {name: why for name, why in left_out.items() if why}
    return {**found, "skipped": skipped} if skipped else found


def skipped_text(split: Any) -> str:
    """'2 of 17 videos of test are damaged and left out: a (...), b (...)'."""
    names = [f"{name} ({why})" for name, why in split.skipped.items()]
    share = f"{len(names)} of {len(names) + len(split)} videos of {split.split}"
    return f"{share} are damaged and left out: {first_of(names, 5)}"


def alone(folder: Path, process_index: int = 0, what: str = "run") -> AbstractContextManager[None]:
    """Keeps other jobs out of a run's folder; process 0 does it for all. Raises DataError where
    another one works there."""
    return contextlib.nullcontext() if process_index else locked(folder, what)


def refuse_other_data(workdir: Path, content: Mapping[str, Mapping[str, str]]) -> None:
    """Raises ConfigError where a folder has results on data of another content. content: split
    -> part -> digest."""
    found = _results(workdir)
    differ = [
        f"{part} of {split}"
        for split, digests in content.items()
        for part in Learnt("", digests).differences((found or {}).get(CONTENT, {}).get(split, {}))
    ]
    if differ:
        raise ConfigError(
            f"{workdir / RESULTS}: these results are on other data: {', '.join(differ)} differ in"
            " content from what is given now; give the same data, another --workdir, or evaluate"
            f" this run on the other data by gfvad evaluate --workdir={workdir} --data=FOLDER"
            " --output=FOLDER"
        )


def claim_output(output: Path, workdir: Path, data: Path) -> None:
    """Raises ConfigError where a folder is not free for the evaluation of a run on other data: a
    run's, another evaluation's, or somebody's."""
    hint = (
        "expected a new folder, or that of an earlier evaluation of the same run on the same data:"
        " give another --output"
    )
    of_a_run = any((output / name).exists() for name in ("config.json", "checkpoints"))
    if output.resolve() == workdir.resolve() or of_a_run:
        raise ConfigError(f"--output={output}: the folder of a run; {hint}")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output={output}: a file; {hint}")
    found = _results(output)
    if found is not None and found.get(ON) != on(workdir, data):
        raise ConfigError(f"{output / RESULTS}: of {found.get(ON) or 'a run'}; {hint}")
    others = [name for name in (RESULTS, *WRITTEN) if (output / name).exists()]
    if found is None and others:
        raise ConfigError(f"{output / others[0]}: not of such an evaluation; {hint}")


def on(workdir: Path, data: Path) -> dict[str, str]:
    """What results.json of an evaluation on other data names."""
    return {"run": str(workdir.resolve()), "data": str(data.resolve())}


def _results(folder: Path) -> Mapping[str, Any] | None:
    """The results of a folder; None where there are none, or none that can be read (they are
    written anew)."""
    path = folder / RESULTS
    if not path.is_file():
        return None
    try:
        return read_json(path, "results of an evaluation")
    except DataError:
        return None
