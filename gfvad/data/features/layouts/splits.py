"""Which part of a set a feature file belongs to, where names do not say: list files of the
public repositories, or folder names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from gfvad.base.names import Names, canonical, some
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts.parts import part_of_folder, part_of_list


def split_of_path(path: Path, root: Path) -> str | None:
    """'train' or 'test' by the innermost folder below root whose name says it; None where none
    does."""
    folders = reversed(path.relative_to(root).parts[:-1])
    return next(filter(None, map(part_of_folder, folders)), None)


class Lists(Names):
    """{video: part} of list files. `lists` has the name of each file, `which` the one that a
    video stands in."""

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


def deciding(lists: Lists | None) -> str:
    """What decided the parts, in words: lists, or else folders."""
    return " and ".join(lists.lists) if lists else "folders with 'train' or 'test' in their names"


def read_lists(root: Path, name_of: Callable[[str], str]) -> Lists | None:
    """The videos of the *.list files directly in root (file paths, a line each, of which the base
    name counts; one line a crop).

    A list is of the test part where its file name says 'test', else of the training part. None
    where there are no lists. Raises DataError for a video in both parts, naming both lines.
    """
    paths = sorted(
        p for p in root.iterdir() if p.suffix.lower() == ".list" and not p.name.startswith(".")
    )
    if not paths:
        return None
    found, places = Lists(), {}
    both: list[tuple[str, str]] = []
    for path in paths:
        part = part_of_list(path)
        found.lists.append(path.name)
        for i, line in annotations.read_lines(path, "one feature file a line"):
            *folders, file = line.replace("\\", "/").split("/")
            name, where = name_of(file), f"{path.name}, line {i} ({file})"
            if name not in found:
                found.add(f"{path}, line {i}", name, part)
                places[canonical(name)] = where
            elif found[name] != part:
                both.append((name, f"{places[canonical(name)]} and {where}"))
            said = found._folders.setdefault(canonical(name), {})
            said[path.name] = part
            if folders and part_of_folder(folders[-1]) == "test":
                said[f"the folder {folders[-1]!r} in {path.name}"] = "test"
    if both:
        names = {name for name, _ in both}
        raise DataError(
            f"{root}: {len(names)} videos are in lists of both parts: {some(names)}: {both[0][1]};"
            " expected each in one"
        )
    return found


def listed(
    root: Path, name_of: Callable[[str], str | None], skip: Iterable[Path] = ()
) -> dict[str, tuple[str, set[str]]]:
    """{file: (part, its videos)} of the lists directly in root that are called after a part, but
    for `skip`.

    Args: name_of: a line's file -> the video, None where it is of no video of the set. The first
    word of a line counts. A .txt is a list where every line of it names a video.
    """
    found, others = {}, {*skip}
    for path in sorted(root.iterdir()):
        part, kind = part_of_folder(path.stem), path.suffix.lower()
        if part is None or path in others or kind not in (".list", ".txt"):
            continue
        if path.name.startswith(".") or not path.is_file() or not path.stat().st_size:
            continue
        try:
            lines = annotations.read_lines(path, "one video a line")
        except DataError:
            if kind == ".list":
                raise
            continue  # some other text
        files = [line.split()[0].replace("\\", "/").rsplit("/", 1)[-1] for _, line in lines]
        videos = [name_of(file) for file in files]
        if kind == ".list" or all(videos):
            found[path.name] = part, {name for name in videos if name}
    return found


def list_claims(lists: Mapping[str, tuple[str, Collection[str]]], name: str) -> dict[str, str]:
    """{"its line in rgbtest.list": 'test'}: what `listed` lists say of a video."""
    return {f"its line in {file}": part for file, (part, names) in lists.items() if name in names}
