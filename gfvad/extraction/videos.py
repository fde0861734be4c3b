"""Which files are videos and what they are called, and one of them to the features of its units."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.files import require_regular
from gfvad.base.names import canonical, natural
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import finding
from gfvad.encoders.registry import UnitEncoder
from gfvad.encoders.units import Grouper, Unit
from gfvad.extraction import media
from gfvad.extraction.media import MediaInfo

VERSION = 1  # of how frames and sound reach encoders: raise it when equal files give other units
LONGEST = 200  # bytes of a name; file systems take 255 with what is put around it


class VideoSource(NamedTuple):
    """One video file."""

    name: str
    path: Path
    # names of the folders it lies in: those below the given one, and that one itself
    folders: tuple[str, ...]


class Extracted(NamedTuple):
    """Features of one video of N units."""

    features: Mapping[str, np.ndarray]  # modality -> float32 [N, D]; zeros where a unit lacks it
    start: np.ndarray  # float64 [N] seconds
    end: np.ndarray  # float64 [N] seconds
    frames: int  # decoded
    info: MediaInfo
    missing: tuple[str, ...]  # modalities that no unit has


def find_videos(
    inputs: Sequence[str | os.PathLike], passed: list[Path] | None = None
) -> list[VideoSource]:
    """The video files among files and folders (searched through, what is hidden passed over), by
    name; a file named twice counts once.

    A file that is given is a video whatever its name; in folders see `finding.is_video`. passed:
    gets what was passed over in folders.
    Raises DataError where a path is not there or no regular file, a folder holds no video, or two
    files would get one name.
    """
    found: dict[str, VideoSource] = {}
    passed = [] if passed is None else passed
    for source in (
        source for path in inputs for source in _below(Path(os.path.expanduser(path)), passed)
    ):
        other = found.setdefault(source.name, source)
        if other.path.resolve() != source.path.resolve():
            raise DataError(
                f"{source.path} and {other.path}: both would be called {source.name!r}; expected"
                " names of their own: rename one, or give the folder above both"
            )
    return sorted(found.values(), key=lambda source: natural(source.name))


def _below(path: Path, passed: list[Path]) -> Iterator[VideoSource]:
    if not path.is_dir():
        if not os.path.lexists(path):
            raise DataError(
                f"{path}: not found; expected a video file or a folder of them: check the path"
            )
        require_regular(path, "a video file or a folder of them")
        yield VideoSource(video_name(path.name), path, (path.absolute().parent.name,))
        return
    none, before = True, len(passed)
    for file in finding.below(path, passed):
        none, inside = False, file.relative_to(path)
        yield VideoSource(video_name(str(inside)), file, (path.resolve().name, *inside.parts[:-1]))
    if none:
        said = finding.passed_over(passed[before:]) or "it is empty"
        raise DataError(
            f"{path}: no videos in it ({said}); expected files that FFmpeg decodes: give the folder"
            " they are in"
        )


def video_name(path: str) -> str:
    """A path below its input folder to a name that can be a file's and a field in every table: no
    suffix, '__' for '/', one spelling of each letter.

    What cannot be written there is replaced: control characters, bytes that are no text, blanks at
    the ends; the end of a very long name by a hash.
    """
    stem = path.removesuffix(finding.suffix_of(path))
    name = stem.replace(os.sep, "__").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", unicodedata.normalize("NFC", name))
    name = re.sub(r"^#\s+", "#", canonical(name)) or "video"  # tables take '# ' for a comment
    if len(name.encode()) <= LONGEST:
        return name
    return (
        name.encode()[: LONGEST - 20].decode("utf-8", "ignore")
        + "-"
        + hashlib.sha256(name.encode()).hexdigest()[:16]
    )


def units(source: media.Media) -> Iterator[Unit]:
    """Frames and sound cut into units as they come, the last one at the end of the source."""
    grouper = Grouper(source.info.sound, source.info.fps)
    for piece in source:
        yield from grouper.push(piece)
    yield from grouper.finish()


def by_modality(encoders: Sequence[UnitEncoder]) -> dict[str, UnitEncoder]:
    """{modality: encoder}. Raises ConfigError for none, and for two of one modality."""
    table = {encoder.modality: encoder for encoder in encoders}
    if not table or len(table) < len(encoders):
        raise ConfigError(
            f"encoders of {', '.join(e.modality for e in encoders) or 'nothing'}; expected at least"
            " one, and one a modality"
        )
    return table


def extract_video(
    path: str | os.PathLike,
    encoders: Sequence[UnitEncoder],
    *,
    name: str = "",
    threads: int = 0,
    watch: Callable[[Unit, MediaInfo], None] | None = None,
) -> Extracted:
    """Features of a video file by encoders of distinct modalities.

    name: what the video is called where an encoder looks something up (default: `video_name` its
    file). threads: of the decoder. watch: told of every unit that is done; what it raises ends the
    work. Raises DataError as `media.open_media` does, and for features that are not finite numbers.
    """
    bound = {
        m: encoder.of(name or video_name(Path(path).name))
        for m, encoder in by_modality(encoders).items()
    }
    rows: dict[str, list[np.ndarray | None]] = {m: [] for m in bound}
    times: list[tuple[float, float]] = []
    frames = 0
    with media.open_media(path, threads=threads) as source:
        for unit in units(source):
            for m, encoder in bound.items():
                rows[m].append(_checked(encoder.encode(unit), encoder, path, unit))
            times.append((unit.start, unit.end))
            frames += len(unit.frames)
            if watch:
                watch(unit, source.info)
        facts = source.info
    for encoder in bound.values():
        encoder.require_frames(frames)
    absent = tuple(m for m in bound if all(row is None for row in rows[m]))
    features = {
        m: np.stack([np.zeros(e.width, np.float32) if row is None else row for row in rows[m]])
        for m, e in bound.items()
    }
    start, end = np.array(times, np.float64).T
    return Extracted(features, start, end, frames, facts, absent)


def _checked(
    row: np.ndarray | None, encoder: UnitEncoder, path: str | os.PathLike, unit: Unit
) -> np.ndarray | None:
    if row is None:
        return None
    row = np.asarray(row, np.float32)
    if row.shape != (encoder.width,) or not np.isfinite(row).all():
        raise DataError(
            f"{path}: {encoder.modality} of unit {unit.index} is {list(row.shape)} numbers,"
            f" {int((~np.isfinite(row)).sum())} of them not finite; expected {encoder.width} finite"
            f" ones of encoder {encoder.name!r}: check its weights"
        )
    return row
