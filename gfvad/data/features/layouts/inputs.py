"""Files to be scored, without labels: any of the published layouts or one's own files, found by
`feature_files.py`, captions beside them.

What a trained model needs and an input has not is taken as absent, as long as one of its modalities
is there: zeros, which have no relation to anything. `Inputs.warnings` says what was looked for.
Where nothing of the model is there, or files are wrong, it is a DataError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gfvad.base.files import read_table
from gfvad.base.names import some
from gfvad.base.types import DataError
from gfvad.data.captions import CaptionText, captions_path
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts import rules as rules_lib
from gfvad.data.features.layouts.entries import Entry, Problem, find_files
from gfvad.data.features.layouts.feature_files import Found, Loose, place_of
from gfvad.data.features.layouts.ucf_logits import FPS as LOGITS_FPS
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth

MARK = "?"  # stands in for the modality of a file without a mark


class Inputs(Loose):
    """Every video is of the part 'test' with label -1, no spans, and 16 frames a unit where nothing
    says more.

    widths {modality: D} are those of the trained model: with them a modality may be missing. Then
    `missing` {modality: what was looked for} has it where no video has it, `gaps` {modality:
    videos} where some have not.
    """

    kind = "input"

    def __init__(self, data_cfg, widths: Mapping[str, int] = {}):
        self.widths, self.missing = dict(widths), {}
        self._unnamed: dict[Path, str] = {}  # container -> the modality that its array x is of
        super().__init__(data_cfg)
        self.on_disk = tuple(m for m in self.on_disk if m not in self.missing)

    def open(self) -> None:
        super().open()
        if self.cfg.layout in ("ucf_logits", "ucf_folds"):
            # its units are equal spans of a video, of whatever length
            self.unit_frames, self.fps = 0, LOGITS_FPS

    def claims(self, entry: Entry) -> dict[str, str]:
        return {}  # what is to be scored may lie anywhere

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        if split == "train":
            return [], []
        if self.text and self._captions_only():
            self.lacking(self.on_disk, self.root, "found sentences only")
            videos, problems = {}, []
        elif self.root.suffix.lower() == ".csv":
            videos, problems = self._gather_csv()
        else:
            videos, problems = self._gather_npzs() if self._npz_folder() else self.gather(self.root)
        self._see_what_is_missing(videos)
        if not videos and self.text:
            videos = {name: Found({}, -1) for name in self.text.captions}
        rules = {rules_lib.rules_of(name) for name in videos}
        if len(rules) == 1 and (kind := rules.pop()):
            self.fps = kind.fps
        return [Entry(name, "test", -1, (), *found) for name, found in videos.items()], problems

    # ---- what is not there

    @property
    def optional(self) -> tuple[str, ...]:
        """Every modality of the model, where its width is known."""
        return tuple(m for m in self.counted if m in self.widths)

    def _may_lack(self, modalities: Sequence[str]) -> bool:
        """True where something of the model is left without these, and zeros of their widths can
        be made."""
        left = [m for m in self.asked if m not in modalities and m not in self.missing]
        return bool(left) and all(m in self.widths for m in modalities)

    def lacking(self, modalities: Sequence[str], root: Path, found: str) -> None:
        """Takes some modalities as absent. Raises DataError where nothing is left or the model's
        widths are not known."""
        if modalities and not self._may_lack(modalities):
            super().lacking(modalities, root, found)
        where = self.root if self.root.suffix == ".csv" else root
        self.missing |= {
            m: f"a sub-folder {m}/ or files with its suffix in {where}, {found}" for m in modalities
        }
        self.on_disk = tuple(m for m in self.on_disk if m not in modalities)

    def _see_what_is_missing(self, videos: Mapping[str, Found]) -> None:
        """Modalities that no container of the input has."""
        held = {m for found in videos.values() for m, files in found.files.items() if files}
        empty = [m for m in self.on_disk if videos and m not in held]
        self.missing |= {m: f"an array {m!r} in {self.root}" for m in empty}
        self.on_disk = tuple(m for m in self.on_disk if m not in empty)

    def _open_text(self) -> CaptionText | None:
        sought = "text" in self.asked and not self.text_on_disk()
        if sought and captions_path(self.cfg, self.root) is None and self._may_lack(("text",)):
            captions = self.folder / "captions.json"
            self.missing["text"] = (
                f"timed sentences in {captions} (or --captions=FILE) and files NAME_emb.npy"
            )
            return None
        return super()._open_text()

    @property
    def gaps(self) -> dict[str, list[str]]:
        """{modality: names of the videos without it} of what only some videos lack."""
        entries = self.entries("test")
        gaps = {m: [e.name for e in entries if not e.files[m]] for m in self.on_disk}
        if self.text:
            gaps["text"] = [e.name for e in entries if self.text.get(e.name) is None]
        return {m: names for m, names in gaps.items() if names}

    def warnings(self) -> list[str]:
        """A line for each modality that is missing, wholly or in some videos."""
        lines = [
            f"no {m}: looked for {looked}; all scores are made without it"
            for m, looked in self.missing.items()
        ]
        of = len(self.entries("test"))
        for m, names in self.gaps.items():
            looked = f"their files in {self.root}"
            if m == "text" and self.text:
                looked = f"sentences in {self.text.path}"
            lines.append(
                f"no {m} in {len(names)} of {of} videos ({some(names)}): looked for {looked}; their"
                " scores are made without it"
            )
        return lines

    @property
    def modalities(self) -> dict[str, int]:
        """{modality: D}, of a missing one as the model has it. Raises DataError where features
        have another width than the model's."""
        if self._modalities is None:
            self.survey("test")  # finds out what is missing
            known = {m: self._first_dim(m) for m in self.on_disk}
            known |= {"text": self.text.encoder.width} if self.text else {}
            for m, width in known.items():
                if self.widths.get(m, width) != width:
                    raise DataError(
                        f"{self.root}: {width} features of {m}; expected {self.widths[m]}, as the"
                        " model was trained on"
                    )
            self._modalities = {m: known.get(m) or self.widths[m] for m in self.asked}
        return self._modalities

    # ---- captions alone

    def _captions_only(self) -> bool:
        """True for a JSON of timed sentences, or a folder that has no features."""
        return self.root.suffix == ".json" or (
            self.root.is_dir() and not find_files(self.root) and not self._npz_folder()
        )

    def text_units(self, entry: Entry) -> int:
        """Units of a video that is known by its sentences alone: equal spans as in training, or
        units of 16 frames of its duration."""
        if entry.files:
            return super().text_units(entry)
        if not self.unit_frames:
            return int(self.cfg.train_units)
        if not self.fps:
            raise DataError(
                f"{self.root}: sentences of {entry.name} without features do not say how many"
                " frames it has; expected features too, or a name of a known set"
            )
        captions = self.text.get(entry.name) if self.text else None
        seconds = captions.duration if captions else 0.0
        return max(1, int(seconds * self.fps) // self.unit_frames)

    # ---- finding videos

    def unmarked(self, rest: list[str], paths: Sequence[Path], root: Path) -> list[str]:
        """The one modality of the model that has as many features as the first file without a
        mark; all, where that is none or several."""
        if len(rest) < 2:
            return rest
        plain = (p for p in paths if place_of(p, root, self.counted, (MARK,))[0] == MARK)
        width = next((arrays.read_header(path).shape[-1] for path in plain), None)
        fitting = [m for m in rest if width and self.widths.get(m) == width]
        return fitting if len(fitting) == 1 else rest

    def held(self, npz: arrays.Npz) -> tuple[str, ...]:
        """Modalities of a container: those it names, and of an array x the one that is asked
        for, or the one with as many features."""
        rest = [m for m in self.counted if m not in npz.headers]
        if rest and "x" in npz.headers and npz.path not in self._unnamed:
            width, alone = npz.headers["x"].shape[-1], len(self.counted) == 1
            fitting = [m for m in rest if alone or self.widths.get(m) == width]
            if len(fitting) == 1:
                self._unnamed[npz.path] = fitting[0]
        lacks = [m for m in rest if self._unnamed.get(npz.path) != m]
        if len(lacks) == len(self.counted) or not self._may_lack(lacks):
            return self.counted  # what may not be missing is refused by name when it is read
        return tuple(m for m in self.counted if m not in lacks)

    def _key(self, npz: arrays.Npz, modality: str) -> str:
        return "x" if self._unnamed.get(npz.path) == modality else super()._key(npz, modality)

    def _npz_folder(self) -> list[Path]:
        """The containers of a folder that has no .npy: those with an array name."""
        if not self.root.is_dir() or find_files(self.root):
            return []
        paths = [p for p in sorted(self.root.iterdir()) if p.suffix.lower() == ".npz"]
        return [p for p in paths if "name" in self.container(p).headers]

    def _gather_npzs(self) -> tuple[dict[str, Found], list[Problem]]:
        videos: dict[str, Found] = {}
        for path in self._npz_folder():
            more = self.gather(path)[0]
            if set(more) & set(videos):
                raise DataError(
                    f"{path}: {some(set(more) & set(videos))} also in another .npz of the folder;"
                    " expected each video once"
                )
            videos |= more
        return videos, []

    def _gather_csv(self) -> tuple[dict[str, Found], list[Problem]]:
        """Files of a CSV with a column path (VadCLIP), found as written or below the CSV's
        folder."""
        written = [row["path"] for _, row in read_table(self.root, ("path",))]
        if not written:
            raise DataError(
                f"{self.root}: no rows; expected a CSV with a column path, a file a row"
            )
        below: dict[str, list[Path]] = {}
        for path in find_files(self.folder):
            below.setdefault(path.name, []).append(path)
        paths, lost = [], []
        for name in written:
            found = below.get(Path(name.replace("\\", "/")).name, [])
            if Path(name).is_file():
                found = [Path(name)]
            if len(found) > 1:
                raise DataError(
                    f"{self.root}: {name} may be {found[0]} or {found[1]}; expected one file of a"
                    f" name below {self.folder}"
                )
            paths += found
            lost += [] if found else [name]
        if lost:
            raise DataError(
                f"{self.root}: {len(lost)} files are neither there nor below {self.folder}:"
                f" {some(lost)}; copy them there"
            )
        return self._gather_npy(paths, Path(paths[0].anchor or "."))

    def truth(self, entry: Entry, units: int) -> Truth:
        captions = self.text.get(entry.name) if self.text and not self.unit_frames else None
        frames = max(1, round(captions.duration * self.fps)) if captions else units * SNIPPET
        return Truth(frames, EMPTY, ())
