"""What the library of checkpoints says late, after a read has failed."""

import logging
import sys

import pytest

from gfvad.train.quiet import quiet_late_reads


@pytest.fixture(autouse=True)
def _as_before():
    waits, hook = logging.getLogger("asyncio"), sys.unraisablehook
    level = waits.level
    yield
    waits.setLevel(level)
    sys.unraisablehook = hook


def late(caplog):
    """What asyncio says of an error that nobody waits for."""
    caplog.clear()
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    return caplog.messages


def test_reads_that_end_well_leave_all_as_it_was(caplog):
    before = sys.unraisablehook
    with quiet_late_reads():
        assert not late(caplog)
    assert late(caplog) and sys.unraisablehook is before


def test_after_a_failed_read_the_others_end_in_silence(caplog):
    with pytest.raises(ValueError), quiet_late_reads():
        raise ValueError("cut short")
    assert not late(caplog)
