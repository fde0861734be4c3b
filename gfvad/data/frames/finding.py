"""Which files are videos: what PyAV decodes, whatever its name. In folders, names that say
something are believed, the others are probed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from gfvad.base.names import VIDEO_SUFFIXES, some

# never probed: FFmpeg takes texts for ANSI art, pictures for videos of one frame, and lists for the
# files or streams they name
OTHERS = """
.txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .log .html .pdf .list .m3u
.m3u8 .pls .sdp .mpd .ffconcat .srt .ass .vtt .lrc .nfo .sub .m .py .sh .npy .npz .mat .h5 .pkl
.pt .pth .onnx .safetensors .bin .parquet .array_record .db .lock .jpg .jpeg .png .tif .tiff
.bmp .webp .heic .ppm .pgm .ico .svg .jp2 .avif .dng .wav .mp3 .flac .aac .m4a .opus .oga .wma
.mid .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .md5 .sha256 .part .tmp .exe
"""
OF_SOUND_TOO = (".ogg",)  # probed as well: most such files hold sound alone


def suffix_of(name: str) -> str:
    """The suffix of a video file, as it is spelt, '' where the name has none."""
    suffix = Path(name).suffix
    return suffix if suffix.lower() in VIDEO_SUFFIXES else ""


def is_video(path: Path) -> bool:
    """Whether a file in a folder is a video: a regular file of a video's suffix, or of an
    unknown one that PyAV finds frames in."""
    suffix = path.suffix.lower()
    if suffix in OTHERS.split():
        return False
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    if suffix in VIDEO_SUFFIXES and suffix not in OF_SOUND_TOO:
        return True
    from gfvad.data.frames.containers import has_frames  # which imports the layouts

    return has_frames(path)


def below(root: Path, passed: list[Path]) -> Iterator[Path]:
    """The video files in a folder and its sub-folders, in the order of their names; `passed` gets
    the files that are none.

    Hidden files are passed over silently; links to folders (which may be loops) are not followed,
    and count as passed over, as empty folders do that are called like a video.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        passed += [Path(folder, f) for f in folders if Path(folder, f).is_symlink()]
        if not folders and not files and suffix_of(folder):
            passed.append(Path(folder))
        for path in (Path(folder, f) for f in sorted(files) if not f.startswith(".")):
            if is_video(path):
                yield path
            else:
                passed.append(path)


def passed_over(paths: Sequence[Path]) -> str:
    """'passed over: 3 files that hold no video: a.txt, ...'; '' for none."""
    if not paths:
        return ""
    files = "1 file that holds" if len(paths) == 1 else f"{len(paths):,} files that hold"
    names = (path.name.encode("utf-8", "replace").decode() for path in paths)
    return f"passed over: {files} no video: {some(names)}"
