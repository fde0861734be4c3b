"""What every layout shares: entries (names and paths, no arrays), survey of what is wrong, and the
way from files to a `Video`.

A layout never guesses. What is wrong with a folder is found by `survey` as a list of Problems;
`entries` raises the first errors among them by name, `gfvad.data.features.audit` prints all.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gfvad.base.names import nearest, some
from gfvad.base.types import ConfigError, DataError, Video
from gfvad.data import truth_audit
from gfvad.data.captions import CaptionText, captions_path
from gfvad.data.features.layouts import arrays, parts
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem, Rules
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth
from gfvad.data.truth_audit import Crops, Stated, align


class Layout:
    """A reader of one folder format.

    Attributes: name (dataset, from the config), root, modalities {name: D}, ground_truth (which
    one, in words), split_rule (what decided the part of each video, in words), notes (a Counter of
    videos repaired so far, by what), fps and unit_frames as in `Video`. `entries` reads no
    features, `modalities` a few headers.
    """

    kind = ""  # name in the registry
    dims: Mapping[str, int] = {}  # modality -> D as published; 0: whatever the first file has
    # modality -> axes its files may have (2: [T, D], 3: [T, C, D])
    ndims: Mapping[str, tuple[int, ...]] = {}
    unit_frames = SNIPPET
    fps = 0.0
    ground_truth = "none"
    split_rule = "none"
    rules = Rules()  # of the published set that the names are of
    has_text = False  # brings the modality text without config.data.captions
    compares = False  # True where `untrained` or `other_truths` give something

    def __init__(self, data_cfg):
        self.cfg, self.name, self.asked = data_cfg, data_cfg.dataset, tuple(data_cfg.modalities)
        self.root = Path(data_cfg.root).expanduser()
        self._noted: dict[str, set[tuple[str, str]]] = {}
        self._scans: dict[str, tuple[list[Entry], list[Problem]]] = {}
        self._surveys: dict[str, tuple[list[Entry], list[Problem]]] = {}
        self._modalities: dict[str, int] | None = None
        self._crops = {split: Crops() for split in SPLITS}
        self.open()
        self.text = self._open_text()
        self.on_disk = tuple(m for m in self.asked if not (m == "text" and self.text))
        unknown = [m for m in self.on_disk if self.dims and m not in self.dims]
        if unknown:
            offered = sorted({*self.dims, "text"})
            raise ConfigError(
                f"config.data.modalities has {unknown[0]!r}, which layout {self.kind} has"
                f" not{nearest(unknown[0], offered)}"
            )

    # ---- for a layout to fill in

    def open(self) -> None:
        """Checks the folder and reads small annotation files. Raises DataError."""
        parts.require_folder(self.root)

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        """Entries of a split from file names and annotations, and what is wrong with them."""
        raise TypeError(f"layout {self.kind!r} defines no scan")

    def claims(self, entry: Entry) -> Mapping[str, str]:
        """What says of which part a video is, whatever decided it: {what says it: 'train' |
        'test'}."""
        return parts.folder_claims((p for files in entry.files.values() for p in files), self.root)

    def sources(self) -> Mapping[str, str]:
        """{video: the scene, camera or recording that it is of}, {} where nothing says."""
        return {}

    def decided(self, entry: Entry) -> str:
        """What decided the part of a video, for a message."""
        return self.split_rule

    def tables(self) -> Mapping[Path, tuple[Mapping[str, object], str]]:
        """Tables whose rows may be of videos that are not there: {file: ({name: row}, what a row
        is)}."""
        return self.rules.tables()

    def truth(self, entry: Entry, units: int) -> Truth:
        """Ground truth of a test video of N units."""
        return self.rules.truth(entry.name, units)

    def stated(self, entry: Entry) -> Stated:
        """What the annotation files say of a video's length and spans, before anything is cut."""
        return self.rules.stated(entry.name) if entry.split == "test" else Stated()

    def rate(self, entry: Entry) -> float:
        """Frames a second of a video; 0.0 where unknown."""
        return self.fps

    def untrained(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Scores of test units by what needs no training, to stand beside a model's: {name:
        {video: [N]}}."""
        return {}

    def other_truths(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Further ground truths of the test part that are in use: {name: {video: uint8 [T]}}, T
        no longer than `truth` has it."""
        return {}

    def annotation_files(self) -> list[Path]:
        """Files the ground truth is built from."""
        return list(self.rules.files)

    def headers(self, entry: Entry, modality: str) -> list[tuple[Path, arrays.Header]]:
        """Headers of a modality's files."""
        return [(path, arrays.read_header(path)) for path in entry.files[modality]]

    def read(self, entry: Entry, modality: str) -> np.ndarray:
        """A modality as [C, N, D]: files [T, D] are crops, one file [T, C, D] holds them."""
        crops = []
        for path, header in self.headers(entry, modality):
            arrays.check_header(
                path, header, self.ndims.get(modality, (2, 3)), self.modalities[modality]
            )
            array = arrays.read_array(path, header)
            # float64 beyond float32 would be rounded to infinity
            arrays.require_finite(array, str(path))
            crops.append(arrays.to_features(array))
        if any(c.shape != crops[0].shape for c in crops) or (len(crops) > 1 and crops[0].ndim == 3):
            raise DataError(
                f"{entry.name}: crops of {modality} have shapes {[c.shape for c in crops]}; "
                "expected the same [units, features] in each"
            )
        return crops[0].transpose(1, 0, 2) if crops[0].ndim == 3 else np.stack(crops)

    # ---- for everyone

    def survey(self, split: str) -> tuple[list[Entry], list[Problem]]:
        """`scan`, once, in the order of names, with what the parts and tables of every layout
        must hold."""
        if split not in SPLITS:
            raise DataError(f"split {split!r}; expected one of {', '.join(SPLITS)}")
        if split not in self._surveys:
            entries, problems = self._scan(split)
            others = self._others(split)
            problems = [*parts.split_problems(self, entries, others), *problems]
            if split == "train" or not others:  # once is enough
                problems += parts.table_problems(self, [*entries, *others])
            if split == "train" and self.root.is_dir():
                problems += parts.suffix_problems(self, [*entries, *others])
            self._surveys[split] = entries, problems
        return self._surveys[split]

    def _scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        if split not in self._scans:
            entries, problems = self.scan(split)
            self._scans[split] = sorted(entries, key=lambda e: e.name), problems
        return self._scans[split]

    def _others(self, split: str) -> list[Entry]:
        """Entries of the other part; what is wrong with it is said where that part is asked for."""
        try:
            return [e for other in SPLITS if other != split for e in self._scan(other)[0]]
        except DataError:
            return []

    def keep(self, split: str, entries: list[Entry], problems: list[Problem]) -> None:
        """Sets what `survey` gives."""
        self._surveys[split] = entries, problems

    def entries(self, split: str) -> list[Entry]:
        """Videos of a split, by name. Raises DataError, by name, for anything missing, unpaired
        or unknown."""
        entries, problems = self.survey(split)
        errors = [p for p in problems if p.error]
        if errors:
            first = [p for p in errors if p.kind == errors[0].kind]
            further, names = len(errors) - len(first), some(p.where for p in first)
            rest = f"; {further} further errors of other kinds" if further else ""
            command = f"gfvad prepare --dataset={self.kind} --source={self.root} --check"
            hint = "" if self.kind == "input" else f". `{command}` lists all"
            raise DataError(
                f"{self.root} ({split}): {len(first)} x {errors[0].kind}: {names}:"
                f" {errors[0].detail}{rest}{hint}"
            )
        return entries

    @property
    def modalities(self) -> dict[str, int]:
        """{modality: D}; the order of the config."""
        if self._modalities is None:
            widths = {m: self.dims.get(m) or self._first_dim(m) for m in self.on_disk}
            widths |= {"text": self.text.encoder.width} if self.text else {}
            self._modalities = {m: widths[m] for m in self.asked}
        return self._modalities

    def _first_dim(self, modality: str) -> int:
        """D where nothing states it."""
        return parts.usual_width(self, modality)

    def load(self, entry: Entry) -> Video:
        """Reads a video. Raises DataError for files that are absent, truncated, misshapen, not
        finite or out of step."""
        features = {m: self.read(entry, m) for m in self.on_disk if entry.files[m]}
        if not features and self.on_disk:
            raise DataError(
                f"{entry.name}: no file of any modality of {', '.join(self.on_disk)}; expected at"
                " least one, see docs/data.md"
            )
        for m, array in features.items():
            if entry.label in (0, 1):
                self._crops[entry.split].require(m, entry.name, *array.shape[:2])
        features, cut = align(features, f"{entry.name} ({entry.split})") if features else ({}, 0)
        if cut:
            self._note("aligned", entry)
        units = next(iter(features.values())).shape[1] if features else self.text_units(entry)
        for m in self.asked:
            if m not in features and not (m == "text" and self.text):
                self._note(f"{m} absent, zeros in its place", entry)
                features[m] = np.zeros((1, units, self.modalities[m]), np.float32)
        if self.text:
            if not self.text.ready:
                self.text.embed_all([e.name for split in SPLITS for e in self.survey(split)[0]])
            if self.text.get(entry.name) is None:
                self._note("without captions, text zeros", entry)
            features["text"] = self.text.features(entry.name, units, self.unit_frames, self.fps)
        return self.checked(entry, units)._replace(features={m: features[m] for m in self.asked})

    def checked(self, entry: Entry, units: int) -> Video:
        """A video of N units without its features: `truth` of a test video, the length of a
        training one. Raises DataError where it cannot be (`data/truth_audit.py`)."""
        truth = Truth(self.train_frames(entry, units), EMPTY, ())
        if entry.split == "test":
            truth = self.truth(entry, units)
        name, split, label, classes, *_ = entry
        of_units = self.unit_frames, self.rate(entry)
        video = Video(name, split, {}, label, classes, *truth, *of_units)
        truth_audit.check_truth(video, units, self.stated(entry))
        return video

    @property
    def notes(self) -> collections.Counter:
        """Videos loaded so far that had to be repaired, by what was done; a video counts once
        however often it is loaded."""
        return collections.Counter({what: len(videos) for what, videos in self._noted.items()})

    def _note(self, what: str, entry: Entry) -> None:
        self._noted.setdefault(what, set()).add((entry.split, entry.name))

    def train_frames(self, entry: Entry, units: int) -> int:
        """Frames of a training video, which has no frame labels: whole units."""
        return units * (self.unit_frames or SNIPPET)

    def text_units(self, entry: Entry) -> int:
        """N of a video where text is the only modality and its other features are not asked for."""
        others = ", ".join(sorted(set(self.dims) - {"text"})) or "its modalities"
        raise ConfigError(
            f"config.data.modalities = ('text',): layout {self.kind} knows no units without"
            f" features; add one of {others}"
        )

    def fingerprint(self) -> str:
        """Hash of everything the videos depend on."""
        return parts.fingerprint(self)

    def _open_text(self) -> CaptionText | None:
        """Captions, where the modality 'text' comes from them."""
        if "text" not in self.asked or "text" in self.dims:
            return None
        path = captions_path(self.cfg, self.root)
        if path is None:
            raise DataError(
                f"{self.root}: modality 'text' needs timed sentences; "
                "give config.data.captions (or --captions), a JSON below this folder"
            )
        return CaptionText(path, self.cfg)
