"""Which settings and seeds are trained together, what of a sweep is done already, and where
everything lies.

DIR/settings/SETTING/seedK/   an ordinary run folder; results.json in it says that it is finished,
                              failed.json that training broke off
DIR/groups/ID/                a group in training: group.json, its checkpoints and logs; gone when
                              all its runs are finished
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gfvad.ablation.sweep import Setting
from gfvad.ablation.varying import structure
from gfvad.base import run_files
from gfvad.base.files import read_json, write_text
from gfvad.base.types import ConfigError, DataError
from gfvad.settings import config as config_lib
from gfvad.train.loop import CHECKPOINTS
from gfvad.train.run_settings import describe_differences, hash_of, training_leaves

SETTINGS, GROUPS, RECORD = "settings", "groups", "group.json"
RESULTS, FAILED = "results.json", "failed.json"


class Group(NamedTuple):
    """Settings of one structure with the seeds they share: U seeds times K settings in one
    program."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]

    @property
    def size(self) -> int:
        """Runs in it."""
        return len(self.settings) * len(self.seeds)

    @property
    def shape(self) -> tuple[int, int]:
        """(U, K)."""
        return len(self.seeds), len(self.settings)

    @property
    def config(self) -> ConfigDict:
        """The config that the group's program is made from, its first setting's with its first
        seed."""
        return with_seed(self.settings[0].config, self.seeds[0])

    def record(self) -> dict[str, Any]:
        """What group.json says: enough to know the group again."""
        hashes = {s.name: hash_of(training_leaves(with_seed(s.config, 0))) for s in self.settings}
        return {"seeds": list(self.seeds), "settings": hashes}

    @property
    def id(self) -> str:
        """Name of its folder."""
        return hashlib.sha256(json.dumps(self.record()).encode()).hexdigest()[:10]


def with_seed(config: ConfigDict, seed: int) -> ConfigDict:
    """A copy of a config with its seed."""
    copy = config.copy_and_resolve_references()
    copy.seed = int(seed)
    return copy


def run_folder(workdir: Path, setting: str, seed: int) -> Path:
    """The run folder of one setting and seed."""
    return workdir / SETTINGS / setting / f"seed{seed}"


def is_done(workdir: Path, setting: Setting, seed: int) -> bool:
    """Whether a setting and seed need no training any more. Raises ConfigError where its folder
    holds a run of another config."""
    folder = run_folder(workdir, setting.name, seed)
    if not (folder / RESULTS).is_file() and not (folder / FAILED).is_file():
        return False
    found = training_leaves(config_lib.load(str(folder)))
    expected = training_leaves(with_seed(setting.config, seed))
    if found != expected:
        raise ConfigError(
            f"{folder}: setting {setting.name!r} was trained with another configuration:"
            f" {describe_differences(found, expected)}; give the setting another name, remove its"
            " folder, or give another --workdir"
        )
    return True


def require_own(workdir: Path, setting: Setting, seed: int) -> None:
    """Raises DataError where the folder of a run that is to be written holds somebody else's
    files, or checkpoints of another run."""
    folder = run_folder(workdir, setting.name, seed)
    run_files.owned_run(folder).claim(run_files.RUN_FILES)
    if not (folder / CHECKPOINTS).is_dir():
        return
    ours = (folder / "config.json").is_file() and training_leaves(
        config_lib.load(str(folder))
    ) == training_leaves(with_seed(setting.config, seed))
    if not ours:
        raise DataError(
            f"{folder / CHECKPOINTS}: checkpoints of another run than setting {setting.name!r},"
            f" seed {seed}; expected none, or those of this ablation: move them away, or give"
            " another --workdir"
        )


def plan(
    workdir: Path, settings: Sequence[Setting], seeds: Sequence[int], at_once: int
) -> list[Group]:
    """The groups that are left to train: those in training on disk as they are, then new ones of
    all that is in none.

    at_once: most runs in one program. Raises ConfigError as `is_done`.
    """
    missing = {s.name: [k for k in seeds if not is_done(workdir, s, k)] for s in settings}
    groups = []
    for group in begun(workdir, settings, seeds):
        if any(seed in missing[s.name] for s in group.settings for seed in group.seeds):
            groups.append(group)
            for s in group.settings:
                missing[s.name] = [k for k in missing[s.name] if k not in group.seeds]
    together: dict[tuple, list[Setting]] = {}
    for setting in settings:
        if left := tuple(missing[setting.name]):
            kind = json.dumps(structure(setting.config), sort_keys=True, default=list)
            together.setdefault((kind, left), []).append(setting)
    for (_, left), members in together.items():
        for part in portions(members, max(1, at_once // len(left))):
            groups += [Group(tuple(part), tuple(some)) for some in portions(left, at_once)]
    return groups


def portions(items: Sequence[Any], most: int) -> list[Sequence[Any]]:
    """The fewest parts of at most `most` items, as equal as can be."""
    count = -(-len(items) // most)
    edges = [i * len(items) // count for i in range(count + 1)]
    return [items[a:b] for a, b in zip(edges, edges[1:])]


def begun(workdir: Path, settings: Sequence[Setting], seeds: Sequence[int]) -> list[Group]:
    """Groups on disk whose settings and seeds are all still asked for; others are passed over
    (and trained anew)."""
    by_name = {setting.name: setting for setting in settings}
    groups = []
    for path in sorted((workdir / GROUPS).glob(f"*/{RECORD}")):
        record: Mapping[str, Any] = read_json(path, "the record of a group of runs")
        kinds = isinstance(record.get("settings"), (list, dict)), type(record.get("seeds")) is list
        if not all(kinds):
            raise DataError(
                f"{path}: no record of a group of runs; expected settings and seeds: remove its"
                " folder, and its runs are trained anew"
            )
        if not set(record["settings"]) <= set(by_name) or not set(record["seeds"]) <= set(seeds):
            continue
        group = Group(tuple(by_name[name] for name in record["settings"]), tuple(record["seeds"]))
        if group.id == path.parent.name:
            groups.append(group)
    return groups


def begin(workdir: Path, group: Group) -> Path:
    """Makes a group's folder, with its record; returns it."""
    folder = workdir / GROUPS / group.id
    write_text(folder / RECORD, json.dumps(group.record(), indent=1))
    return folder
