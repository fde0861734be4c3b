"""Places in buckets on a command line: which options take one, and the local folder that stands in
for it while the command runs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from gfvad.base import fetched, mirrors, storage
from gfvad.base.errors import ConfigError

KEPT = ("--config.data.root", "--config.data.records")  # found where the data is opened
RUNS = ("--workdir", "--model")  # folders of runs
READ = ("--data", "--source")  # folders that are only read
WRITERS = ("train", "evaluate")  # commands that write into their --workdir


@contextlib.contextmanager
def local_words(command: str, words: Sequence[str]) -> Iterator[list[str]]:
    """The words of a command line with a local folder in the place of each one of a bucket; what
    the command left in it is published at the end.

    Raises ConfigError where an option takes no place in a bucket, DataError where it cannot be
    used.
    """
    found = list(words)
    values = [word.partition("=")[2] if word.startswith("--") else word for word in found]
    if not any(map(storage.is_remote, values)):
        yield found
        return
    with contextlib.ExitStack() as stack:
        for i, word in enumerate(found):
            option, _, value = word.partition("=") if word.startswith("--") else ("", "", word)
            if not option and i and found[i - 1].startswith("--") and "=" not in found[i - 1]:
                option = found[i - 1]
            if not storage.is_remote(value) or option in KEPT:
                continue
            folder = str(stack.enter_context(_stand_in(command, option, value, found)))
            found[i] = f"{option}={folder}" if word.startswith("--") else folder
        yield found


@contextlib.contextmanager
def _stand_in(command: str, option: str, url: str, words: Sequence[str]) -> Iterator[Path]:
    if option in RUNS and (option == "--model" or command in (*WRITERS, "score", "explain")):
        write = command in WRITERS and "--mode=score" not in words
        with mirrors.opened(url, write=write and option == "--workdir") as folder:
            yield folder
    elif option in READ:
        yield fetched.local_folder(url)
    elif option == "--out" and command == "prepare":
        storage.Store(url).require_bucket()
        folder = storage.cache_root() / "prepared" / storage.name_of(url)
        shutil.rmtree(folder, ignore_errors=True)
        yield folder
        if folder.is_dir():
            mirrors.upload(folder, url)
            print(f"records: {url}")
    else:
        taken = ", ".join((*KEPT, *RUNS, *READ, "prepare --out"))
        raise ConfigError(
            f"{option or 'an argument'}: {url}: expected a local folder here (in a bucket may lie:"
            f" {taken}): copy it, by gcloud storage cp or aws s3 cp"
        )
