"""The folder of extracted features: what is done, with hashes, versions and settings, so that a
second call does the rest only.

    MODALITY/NAME.npy    float32 [N, D]               (layout xd: the folders and names of
                         XD-Violence)
    units.csv            name,unit,start,end          seconds, 6 decimals
    frame_counts.txt     NAME@frames                  (layout xd: of the test part alone)
    manifest.json        see `Book.close`; its `videos` and `failed` say everything of a file
    .journal.jsonl       what was done since the manifest was written: a line a file, so that an
                         interrupt loses nothing

Every file is written under another name and then put in place.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import gfvad
from gfvad.base import locks
from gfvad.base.errors import cannot_write
from gfvad.base.files import parse_json, read_text
from gfvad.base.names import natural
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts.feature_files import EXTRACTED
from gfvad.encoders.units import FRAMES, PATCH, RATE, SIDE
from gfvad.extraction import media
from gfvad.extraction.feature_files import (
    PARTIAL,
    cannot_save,
    feature_file,
    save_bytes,
    save_table,
    stamp,
)
from gfvad.extraction.ownership import JOURNAL, MANIFEST, TIMES, OwnFeatures, is_whole, sha256
from gfvad.extraction.videos import VERSION, VideoSource

FORMAT = 1
LOCK = locks.LOCK


# of a video's record
NEEDED = "path size mtime_ns sha256 fps frames units missing encoders files"


class Book:
    """What is done in a folder; a context manager that keeps others out of it.

    videos {name: record}, failed {name: {path, size, reason}}. Raises DataError where another call
    works there, or it holds something else.
    """

    def __init__(self, out: Path, layout: str):
        self.out, self.layout = out, layout
        self.videos: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, dict[str, Any]] = {}
        self.encoders: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Book:
        self._stack = ExitStack()
        self.own = OwnFeatures(self.out)
        self._stack.enter_context(self.own.files.locked("folder of features"))
        try:
            earlier = any(
                (self.out / name).is_file()
                for name in (MANIFEST, JOURNAL, self.own.files.record.name)
            )
            # left by a killed process: nobody else writes under the lock
            for stale in self.out.rglob(f".*{PARTIAL}") if earlier else ():
                stale.unlink(missing_ok=True)
            self._read()
        except OSError as error:
            self._stack.close()
            raise cannot_write(self.out, error) from None
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def _read(self) -> None:
        path = self.out / MANIFEST
        if path.is_file():
            known = _parse(path)
            if known.get("layout") != self.layout:
                raise DataError(
                    f"{path}: features in layout {known.get('layout')}, asked for {self.layout}:"
                    f" give another --out, or --layout={known.get('layout')}"
                )
            times = _read_units(self.out / TIMES)
            try:
                self.encoders, self.failed = dict(known["encoders"]), dict(known["failed"])
                # others are done again
                self.videos = {
                    name: {**r, **times[name]}
                    for name, r in known["videos"].items()
                    if len(times.get(name, {}).get("start", ())) == r["units"]
                    and set(NEEDED.split()) <= set(r)
                }
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{path}: damaged ({type(error).__name__}: {error}); expected the manifest of"
                    " gfvad extract: give another --out, or bring back an earlier copy"
                ) from None
        journal = self.out / JOURNAL
        if journal.is_file():
            for line in journal.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    self._take(*json.loads(line))
                except (ValueError, TypeError):  # the last line of a killed process
                    continue

    def _take(
        self, name: str, record: dict[str, Any] | None, failure: dict[str, Any] | None
    ) -> None:
        for table, entry in ((self.videos, record), (self.failed, failure)):
            table.pop(name, None)
            if entry is not None:
                table[name] = entry

    def add(
        self, name: str, record: dict[str, Any] | None, failure: dict[str, Any] | None = None
    ) -> None:
        """Takes down that a video is done, or why it failed; features of it that are no longer
        wanted are removed. Raises NoRoom."""
        old = self.videos.get(name, {})
        for m, file in old.get("files", {}).items():
            if file not in (record or {}).get("files", {}).values():
                self.own.remove(file, old.get("hashes", {}).get(m))
        self._take(name, record, failure)
        line = json.dumps([name, record, failure]) + "\n"
        try:
            with open(self.out / JOURNAL, "a", encoding="utf-8") as journal:
                journal.write(line)
        except OSError as error:
            raise cannot_save(self.out / JOURNAL, error, len(line)) from None

    def same(self, source: VideoSource) -> bool:
        """Whether a video is the file whose features are here: by size and time of change, else
        by its content. Takes down where it lies now."""
        record = self.videos.get(source.name)
        found = stamp(source.path)
        if record is None or record["size"] != found.size:
            return False
        if record["path"] == os.path.abspath(source.path) and record["mtime_ns"] == found.mtime_ns:
            return True
        if record["sha256"] != sha256(source.path):
            return False
        record.update(path=os.path.abspath(source.path), mtime_ns=found.mtime_ns)
        return True

    def lacking(self, source: VideoSource, ids: Mapping[str, str], split: str) -> list[str]:
        """Modalities of a video that are still to be extracted: all where it changed, else those
        whose encoder changed or whose file is not whole."""
        if not self.same(source):
            return list(ids)
        record = self.videos[source.name]
        files = {m: feature_file(self.layout, m, source.name, split) for m in ids}
        done = {
            m
            for m in ids
            if record["encoders"].get(m) == ids[m] and record["files"].get(m) == files[m]
        }
        return [
            m for m in ids if m not in done or not is_whole(self.out / files[m], record["units"])
        ]

    def sorted(self) -> dict[str, dict[str, Any]]:
        """What is done, by name."""
        return dict(sorted(self.videos.items(), key=lambda item: natural(item[0])))

    def close(self) -> None:
        """Writes the tables and the manifest: format, kind, layout, versions, encoders {modality:
        name, version, width, settings, id}, units, videos, failed.

        Raises NoRoom; the journal stays then.
        """
        self.require_folder()
        done = self.sorted()
        rows = [
            (n, k, f"{a:.6f}", f"{b:.6f}")
            for n, r in done.items()
            for k, (a, b) in enumerate(zip(r["start"], r["end"]))
        ]
        save_table(self.out / TIMES, ("name", "unit", "start", "end"), rows)
        videos = {
            n: {key: value for key, value in r.items() if key not in ("start", "end")}
            for n, r in done.items()
        }
        held = {m for r in videos.values() for m in r["encoders"]}
        content = {
            "format": FORMAT,
            "kind": EXTRACTED,
            "layout": self.layout,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(),
            "units": {
                "frames": FRAMES,
                "side": SIDE,
                "sound_rate": RATE,
                "sound_patch": PATCH,
                "version": VERSION,
            },
            "encoders": {m: e for m, e in self.encoders.items() if m in held},
            "videos": videos,
            "failed": dict(sorted(self.failed.items())),
        }
        save_bytes(self.out / MANIFEST, json.dumps(content, indent=1).encode())
        (self.out / JOURNAL).unlink(missing_ok=True)
        self.own.finish(done)

    def require_folder(self) -> None:
        """Raises DataError where the folder was removed since it was locked."""
        if not (self.out / LOCK).is_file():
            raise DataError(
                f"{self.out}: the folder was removed or replaced while features were written to it;"
                " expected it to stay: run the same command again"
            )


def versions() -> dict[str, str]:
    """Of what takes part."""
    return {
        "gfvad": gfvad.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        **media.versions(),
    }


def _parse(path: Path) -> dict[str, Any]:
    known = parse_json(
        read_text(path, "a manifest of features"),
        str(path),
        "a manifest of features, or an empty folder (give another --out)",
    )
    if (
        known.get("kind") != EXTRACTED
        or known.get("format") != FORMAT
        or not isinstance(known.get("videos"), dict)
    ):
        raise DataError(
            f"{path}: not a manifest of features in format {FORMAT}; expected an empty folder or"
            " one of this command: give another --out"
        )
    return known


def _read_units(path: Path) -> dict[str, dict[str, list[float]]]:
    """{name: {'start': [N], 'end': [N]}}; what is damaged or lacks is done again."""
    try:
        units = annotations.parse_units(path)
    except DataError:
        return {}
    found = {units.spelt(name): np.array(times).T.tolist() for name, times in units.items()}
    return {name: {"start": start, "end": end} for name, (start, end) in found.items()}
