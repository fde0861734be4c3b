"""Keeps compiled programs from one command to the next: JAX's persistent compilation cache, on by
default, in a folder whose size is bounded.

JAX can bound it by itself only with a package more (filelock), which rewrites a file at each read;
here the folder is cut once, when a command starts.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import MutableMapping
from pathlib import Path

FOLDER, SWITCH = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
LARGEST = 2**30  # bytes; a run of the fusion task leaves about two million
WORTH = "0.2"  # seconds of compilation from which a program is kept
OFF = ("0", "false", "no", "off")


def keep_programs(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets JAX's variables, before jax is imported, where the user has set none: programs are kept
    in `compiled/` of the cache folder ($GFVAD_CACHE, ~/.cache/gfvad).

    JAX_COMPILATION_CACHE_DIR names another folder, which is not bounded, and
    JAX_ENABLE_COMPILATION_CACHE=false turns it off. Where nothing can be written nothing is kept.
    """
    if FOLDER in environment or environment.get(SWITCH, "").lower() in OFF or "jax" in sys.modules:
        return
    cache = Path(environment.get("GFVAD_CACHE") or "~/.cache/gfvad")
    try:
        # a program is of the processor that it was compiled on, and homes may be shared
        folder = cache.expanduser() / "compiled" / processor()
        folder.mkdir(parents=True, exist_ok=True)
        bound(folder)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return
    if os.access(folder, os.W_OK):
        environment[FOLDER] = str(folder)
        environment.setdefault(SECONDS, WORTH)


def processor() -> str:
    """A name for what programs are compiled for: the processor's kind and what it can do."""
    about = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features", "CPU part")
    about += "".join(sorted({line for line in lines if line.startswith(kinds)}))
    return hashlib.sha256(about.encode()).hexdigest()[:12]


def bound(folder: Path, largest: int = LARGEST) -> None:
    """Removes what was not read for the longest time, until what is left has three quarters of
    `largest` bytes; nothing where all is smaller than that. Another command may do the same."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                about = entry.stat()
            except FileNotFoundError:
                continue
            found.append((max(about.st_atime, about.st_mtime), entry.path, about.st_size))
    total = sum(size for _, _, size in found)
    if total <= largest:
        return
    for _, path, size in sorted(found):
        if total <= largest * 3 // 4:
            break
        Path(path).unlink(missing_ok=True)
        total -= size
