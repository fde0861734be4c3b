"""Which part of a set a feature file belongs to, where names do not say: list files of the public repositories, or folder names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gfvad.base.names import Names, canonical
from gfvad.data import annotations
from gfvad.data.layouts.base import some
from gfvad.data.layouts.parts import part_of_folder
from gfvad.types import DataError


def split_of_path(path: Path, root: Path) -> str | None:
    """'train' or 'test' by the innermost folder below root whose name says it; None where none does."""
    return next(
        (
            part
            for folder in reversed(path.relative_to(root).parts[:-1])
            if (part := part_of_folder(folder))
        ),
        None,
    )


class Lists(Names):
    """{video: part} of list files. `lists` has the name of each file, `which` the one that a video stands in."""

    def __init__(self):
        super().__init__("the lists")
        self.lists: list[str] = []
        self._folders: dict[str, dict[str, str]] = {}

    def names(self, part: str) -> set[str]:
        """The videos of a part."""
        return {name for name, found in self.items() if found == part}

    def claims(self, name: str) -> dict[str, str]:
        """What the lists say of a video: its part, and the folder that its line names."""
        return dict(self._folders.get(canonical(name), {}))


def read_lists(root: Path, name_of: Callable[[str], str]) -> Lists | None:
    """The videos of the *.list files directly in root (file paths, a line each, of which the base name counts; one line a crop).

    A list is of the test part where its file name says 'test', else of the training part. None where there are no lists. Raises
    DataError for a video in both parts, naming both lines.
    """
    paths = sorted(
        p for p in root.iterdir() if p.suffix.lower() == ".list" and not p.name.startswith(".")
    )
    if not paths:
        return None
    found, places = Lists(), {}
    both: list[tuple[str, str]] = []
    for path in paths:
        part = "test" if part_of_folder(path.stem) == "test" else "train"
        found.lists.append(path.name)
        for i, line in annotations.read_lines(path, "one feature file a line"):
            *folders, file = line.replace("\\", "/").split("/")
            name, where = name_of(file), f"{path.name}, line {i} ({file})"
            if name not in found:
                found.add(f"{path}, line {i}", name, part)
                places[canonical(name)] = where
            elif found[name] != part:
                both.append((name, f"{places[canonical(name)]} and {where}"))
            said = {"test": "test"}.get(part_of_folder(folders[-1]) if folders else None)
            found._folders.setdefault(canonical(name), {}).update(
                {f"{path.name}": part}
                | ({f"the folder {folders[-1]!r} in {path.name}": said} if said else {})
            )
    if both:
        names = {name for name, _ in both}
        raise DataError(
            f"{root}: {len(names)} videos are in lists of both parts: {some(names)}: {both[0][1]}; expected each in one"
        )
    return found
