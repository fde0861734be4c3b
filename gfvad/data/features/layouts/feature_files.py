"""Features in no published format: one .npz of all videos, one .npy, or a folder of .npy, for
training sets of one's own and for scoring.

.npz      x [V, T, D] (one modality) or one array [V, T, D] a modality by its name; name [V];
          lengths [V] true units, where rows are padded
folder    NAME.npy [T, D] or [T, C, D]; NAME__k.npy are crops; several modalities lie in sub-folders
          of their names (MODALITY/NAME.npy without any further meaning of a name, where a
          manifest.json says that `gfvad extract` wrote it). The suffixes and
          folders of the published sets are understood too: NAME__vggish.npy is audio, NAME_emb.npy
          text, NAME_i3d.npy the one that no other mark claims; RGB, RGBTest, Flow, FlowTest
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.files import lies_at, read_json
from gfvad.base.names import canonical, some
from gfvad.base.types import DataError
from gfvad.data.captions import CaptionText
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem, find_files
from gfvad.data.features.layouts.grouping import group_crops, missing_files
from gfvad.data.features.layouts.parts import without_npy
from gfvad.data.truth_audit import check_table

FOLDERS = {
    "rgb": "rgb",
    "rgbtest": "rgb",
    "flow": "flow",
    "flowtest": "flow",
    "vggish-features": "audio",
    "audio": "audio",
}
SUFFIXES = ((re.compile(r"(.+)__vggish"), "audio"), (re.compile(r"(.+)_emb"), "text"))
EXTRACTED = "gfvad.features"  # `kind` in the manifest.json of `gfvad extract`
UNITS = "units"  # stands in for a modality whose values are not wanted
CROP = re.compile(r"(.+)__(\d+)")


class Found(NamedTuple):
    """Files of a video."""

    files: dict[str, tuple[Path, ...]]
    row: int


def place_of(
    path: Path, root: Path, asked: Sequence[str], rest: Sequence[str]
) -> tuple[str, str, int]:
    """(modality, video, crop) of a .npy file; modality '' where the file is of one that is not
    asked for.

    `rest` are the asked modalities that neither a suffix nor a folder marks: a file of one of
    several needs a folder. Raises DataError where it has none.
    """
    stem = canonical(without_npy(path.name))
    for pattern, modality in SUFFIXES:
        if match := pattern.fullmatch(stem):
            return (modality if modality in asked else ""), canonical(match[1]), 0
    crop = CROP.fullmatch(stem)
    name, number = (crop[1], int(crop[2])) if crop else (stem.removesuffix("_i3d"), 0)
    own = {m.lower(): m for m in asked}
    for part in reversed(path.relative_to(root).parts[:-1]):
        modality = own.get(part.lower()) or FOLDERS.get(part.lower())
        if modality:
            return (modality if modality in asked else ""), canonical(name), number
    if len(rest) > 1:
        raise DataError(
            f"{path}: of {' or '.join(rest)}? Expected one sub-folder a modality, named like it"
        )
    return (rest[0] if rest else ""), canonical(name), number


def extracted(root: Path) -> bool:
    """Whether a folder was written by `gfvad extract`. Raises DataError where its manifest is
    damaged."""
    path = root / "manifest.json"
    try:
        return read_json(path, "the manifest of features").get("kind") == EXTRACTED
    except DataError:
        # else it is somebody else's, or there is none
        if lies_at(path) and lies_at(root / "units.csv"):
            raise
        return False


class Loose(Layout):
    """Base of the readers of such files."""

    optional: tuple[str, ...] = ()  # modalities that some videos may lack

    def open(self) -> None:
        if not self.root.exists():
            raise DataError(
                f"{self.root}: nothing there; expected an .npz, a .npy or a folder of them"
            )
        self._containers: dict[Path, arrays.Npz] = {}
        if self.root.is_dir():
            super().open()

    @property
    def folder(self) -> Path:
        """Where files beside the features are looked for."""
        return self.root if self.root.is_dir() else self.root.parent

    @property
    def counted(self) -> tuple[str, ...]:
        """Modalities whose files are looked for; where text from captions is the only one asked
        for, any file tells the number of units."""
        return self.on_disk or (UNITS,)

    def text_units(self, entry: Entry) -> int:
        return self.headers(entry, UNITS)[0][1].shape[0]

    def text_on_disk(self) -> bool:
        """True where text features lie beside the others, so that no captions are needed."""
        if self.root.is_dir():
            files = [p.relative_to(self.root) for p in find_files(self.root)]
            return any(
                without_npy(p.name).endswith("_emb") or "text" in map(str.lower, p.parts[:-1])
                for p in files
            )
        return self.root.suffix == ".npz" and "text" in self.container(self.root).headers

    def _open_text(self) -> CaptionText | None:
        return None if "text" in self.asked and self.text_on_disk() else super()._open_text()

    # ---- finding videos

    def gather(self, path: Path) -> tuple[dict[str, Found], list[Problem]]:
        """Videos of a file or folder: {name: Found}, and what is wrong."""
        if path.is_file() and path.suffix.lower() == ".npz":
            return self._gather_npz(path), []
        if path.is_file() and path.suffix.lower() != ".npy":
            raise DataError(
                f"{path}: {path.suffix or 'no suffix'}; expected .npz, .npy or a folder of them"
            )
        if path.is_file():
            return self._gather_npy([path], path.parent)
        return self._gather_npy(find_files(path), path)

    def _gather_npy(self, paths: list[Path], root: Path) -> tuple[dict[str, Found], list[Problem]]:
        if not paths:
            raise DataError(
                f"{root}: no .npy files; expected one a video (and modality), or an .npz given by"
                " its own path"
            )
        if extracted(root):
            return self._gather_extracted(paths, root)
        stems = [canonical(without_npy(p.name)) for p in paths]
        marked = {m for pattern, m in SUFFIXES if any(map(pattern.fullmatch, stems))}
        folders = {part.lower() for p in paths for part in p.relative_to(root).parts[:-1]}
        unmarked = [m for m in self.counted if m not in marked and m.lower() not in folders]
        rest = self.unmarked(unmarked, paths, root)
        grouped: dict[str, list] = {m: [] for m in self.counted}
        for path in paths:
            modality, name, crop = place_of(path, root, self.counted, rest)
            if modality:
                grouped[modality].append((name, crop, path))
        if lacks := [m for m, files in grouped.items() if not files]:
            self.lacking(lacks, root, f"found {some(p.name for p in paths)}")
        tables, problems = {}, []
        for modality, files in grouped.items():
            if files:
                tables[modality], wrong = group_crops(files)
                problems += wrong
        return self._paired(root, tables, problems)

    def _paired(
        self, root: Path, tables: dict[str, dict[str, tuple[Path, ...]]], problems: list[Problem]
    ) -> tuple[dict[str, Found], list[Problem]]:
        """Videos of {modality: {video: files}}, and what some modality lacks."""
        names = sorted(set().union(*tables.values()))
        videos = {name: Found({m: tables[m].get(name, ()) for m in tables}, -1) for name in names}
        return videos, problems + missing_files(root.name, tables, self.optional)

    def _gather_extracted(
        self, paths: list[Path], root: Path
    ) -> tuple[dict[str, Found], list[Problem]]:
        """MODALITY/NAME.npy: names may end like a crop or a mark of another set, so they are
        taken as they are."""
        every = self.counted == (UNITS,)
        of = {m: [p for p in paths if every or p.parent == root / m] for m in self.counted}
        if lacks := [m for m, files in of.items() if not files]:
            self.lacking(lacks, root, f"found {some({p.parent.name for p in paths})}")
        named = lambda files: {canonical(without_npy(p.name)): (p,) for p in files}
        return self._paired(root, {m: named(files) for m, files in of.items() if files}, [])

    def unmarked(self, rest: list[str], paths: Sequence[Path], root: Path) -> list[str]:
        """Of the modalities that no suffix or folder marks, those that files without a mark may
        be of: any."""
        return rest

    def lacking(self, modalities: Sequence[str], root: Path, found: str) -> None:
        """What to do where no file is of some modalities: refuse."""
        raise DataError(
            f"{root}: no files of modality {modalities[0]!r}; expected a sub-folder"
            f" {modalities[0]}/ or its suffix, {found}"
        )

    def container(self, path: Path) -> arrays.Npz:
        """An opened .npz."""
        if path not in self._containers:
            self._containers[path] = arrays.Npz(path)
        return self._containers[path]

    def _key(self, npz: arrays.Npz, modality: str) -> str:
        return modality if modality in npz.headers or len(self.counted) > 1 else "x"

    def _gather_npz(self, path: Path) -> dict[str, Found]:
        npz = self.container(path)
        names, held = npz.names(), self.held(npz)
        for key in (self._key(npz, m) for m in held):
            header = npz.require(key, 3)
            usable = arrays.is_float(header.dtype) and 0 not in header.shape
            if header.shape[0] != len(names) or not usable:
                raise DataError(
                    f"{path}:{key}: shape {header.shape} of {header.dtype}; "
                    f"expected floats [{len(names)} names, units, features]"
                )
        if "lengths" in npz.headers:
            lengths = npz.array("lengths")
            most = min(npz.headers[self._key(npz, m)].shape[1] for m in held)
            whole = lengths.shape == (len(names),) and lengths.dtype.kind in "iu"
            if not whole or (lengths < 1).any() or (lengths > most).any():
                raise DataError(
                    f"{path}:lengths: shape {lengths.shape} of {lengths.dtype}; "
                    f"expected {len(names)} whole numbers from 1 to {most}"
                )
        for key, allowed in (("label", (0, 1)), ("split", SPLITS)):
            if key in npz.headers:
                check_table(npz.array(key), len(names), f"{path}:{key}", allowed)
        files = {m: (path,) if m in held else () for m in self.counted}
        return {canonical(name): Found(files, row) for row, name in enumerate(names)}

    def held(self, npz: arrays.Npz) -> tuple[str, ...]:
        """Modalities that a container must hold: all that are looked for."""
        return self.counted

    # ---- reading them

    def headers(self, entry: Entry, modality: str) -> list[tuple[Path, arrays.Header]]:
        if entry.row < 0:
            return super().headers(entry, modality)
        path = entry.files[modality][0]
        npz = self.container(path)
        header = npz.headers[self._key(npz, modality)]
        _, units, width = header.shape
        if "lengths" in npz.headers:
            units = int(npz.array("lengths")[entry.row])
        return [(path, header._replace(shape=(units, width)))]

    def read(self, entry: Entry, modality: str) -> np.ndarray:
        if entry.row < 0:
            return super().read(entry, modality)
        ((path, header),) = self.headers(entry, modality)
        if header.shape[-1] != self.modalities[modality]:
            raise DataError(
                f"{path}: {header.shape[-1]} features of {modality}; "
                f"expected {self.modalities[modality]} as in the other files"
            )
        npz = self.container(path)
        array = npz.array(self._key(npz, modality))[entry.row, : header.shape[0]]
        arrays.require_finite(array, f"{path}:{self._key(npz, modality)}, video {entry.name}")
        return arrays.to_features(array)[None]

    def _first_dim(self, modality: str) -> int:
        for entry in (e for split in SPLITS for e in self.survey(split)[0]):
            if entry.row >= 0 and entry.files.get(modality):
                return self.headers(entry, modality)[0][1].shape[-1]
        return super()._first_dim(modality)
