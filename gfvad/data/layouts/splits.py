"""Which part of a set a feature file belongs to, where names do not say: list files of the public repositories, or folder names."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gfvad.data import annotations
from gfvad.data.layouts.base import some
from gfvad.types import DataError


def split_of_path(path: Path, root: Path) -> str | None:
    """'train' or 'test' by the innermost folder below root whose name holds one of the words; None where none does."""
    for part in reversed(path.relative_to(root).parts[:-1]):
        found = [word for word in ("train", "test") if word in part.lower()]
        if len(found) == 1:
            return found[0]
    return None


def read_lists(root: Path, name_of: Callable[[str], str]) -> dict[str, set[str]] | None:
    """{'train': names, 'test': names} from the *.list files directly in root (file paths, a line each, of which the base name counts).

    A list is of the test part where its file name holds 'test'. None where there are no lists. Raises DataError for a name in both.
    """
    lists = sorted(root.glob("*.list"))
    if not lists:
        return None
    parts: dict[str, set[str]] = {"train": set(), "test": set()}
    for path in lists:
        lines = annotations.read_lines(path, "one feature file a line")
        part = "test" if "test" in path.name.lower() else "train"
        parts[part] |= {name_of(line.replace("\\", "/").rsplit("/", 1)[-1]) for _, line in lines}
    both = parts["train"] & parts["test"]
    if both:
        raise DataError(f"{root}: {len(both)} videos are in lists of both parts: {some(both)}; expected each in one")
    return parts
