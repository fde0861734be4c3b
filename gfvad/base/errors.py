"""Errors that a user can mend, exit codes, and the frame around every command that turns errors
into one line."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable, Sequence

from gfvad.base import interrupts
from gfvad.base.interrupts import EXIT_INTERRUPTED, INTERRUPTED
from gfvad.base.secrets import redact

EXIT_DONE = 0
EXIT_SOME_FAILED = 1  # the rest was done; what failed is listed at the end
EXIT_BAD_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_NO_PEERS = 75  # not all processes came in time; EX_TEMPFAIL: the same again may go well
EXIT_SAVED = 143  # 128 + SIGTERM: all is saved, the same again goes on from there
LONGEST_MESSAGE = 4000  # characters

# What libraries of formats (orbax, array_record, numpy, zip) raise for bytes that they cannot read
LIBRARY_ERRORS = (ValueError, OSError, KeyError, TypeError, IndexError, AttributeError)
LIBRARY_ERRORS += (RuntimeError, AssertionError, EOFError, MemoryError, OverflowError)
LIBRARY_ERRORS += (StopIteration,)
EXTRAS = {"cv2": "video", "av": "video"}  # module -> the extra of the package that brings it
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class DataError(ValueError):
    """Bad input. The message names the file, what was found, what was expected and what to do."""


class ConfigError(ValueError):
    """A configuration that cannot work. The message names the key, the value and what would be
    valid."""


def cannot_write(path: str | os.PathLike, error: OSError) -> DataError:
    """An OSError of writing below `path`, as a message that says what to do."""
    where = error.filename if isinstance(error.filename, (str, os.PathLike)) else path
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.errno in FULL:
        advice = (
            "expected room on that disk: make some, or give a folder on another disk; what was"
            " saved before is whole"
        )
    elif error.errno in FORBIDDEN:
        advice = "expected the right to write there: give another folder, or change its permissions"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        advice = "expected a folder whose parts are all folders: give another path"
    elif error.errno in (errno.ENOENT, errno.ESTALE):
        advice = (
            "expected the folder that was there before: was it removed meanwhile? Run the command"
            " again"
        )
    elif error.errno == errno.ENAMETOOLONG:
        advice = "expected a shorter name: rename the video or the folder"
    else:
        advice = "expected a folder to write to: give another one"
    return DataError(f"{where}: cannot be written ({reason}); {advice}")


def cannot_read(path: str | os.PathLike, error: OSError, what: str) -> DataError:
    """An OSError of reading a file, as a message that says what was expected."""
    reason = "not found" if error.errno == errno.ENOENT else (error.strerror or str(error)).lower()
    return DataError(f"{path}: cannot be read ({reason}); expected {what}")


def command(main: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """A command's `main(argv)`, with what a user can mend turned into one line on standard error
    and exit code 2, and Ctrl-C into 130."""

    @functools.wraps(main)
    def guarded(argv: Sequence[str]) -> int:
        return run_command(lambda: main(argv))

    return guarded


def readable(message: str) -> str:
    """A message without the middle of what no one reads: a field of a megabyte that it quotes."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    half = LONGEST_MESSAGE // 2
    return f"{message[:half]} [... {len(message) - 2 * half:,} characters ...] {message[-half:]}"


def run_command(body: Callable[[], int]) -> int:
    """Runs a command; returns its exit code. What a user can mend becomes one line on standard
    error and exit code 2, Ctrl-C 130."""
    try:
        with interrupts.raised():
            return body()
    except (ConfigError, DataError) as error:
        print(f"error: {readable(redact(str(error)))}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except ModuleNotFoundError as error:
        if (extra := EXTRAS.get(error.name or "")) is None:
            raise
        print(
            f"error: {error.name} is not installed; expected the extra {extra!r} of gfvad: pip"
            f" install -r launch/requirements-{extra}.txt",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader of our output has left (`... | head`)
        sys.stdout = open(os.devnull, "w")
        return EXIT_DONE
    except OSError as error:
        message = f"error: {cannot_write(error.filename or 'a file', error)}".replace(
            "cannot be written", "cannot be used"
        )
        print(redact(message), file=sys.stderr)
        return EXIT_BAD_INPUT
    except MemoryError as error:
        print(
            f"error: out of memory ({error or 'no size given'}); expected input that fits: score"
            " fewer or shorter videos at once",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"\n{INTERRUPTED}", file=sys.stderr)
        return EXIT_INTERRUPTED
