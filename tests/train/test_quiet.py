"""What the library of checkpoints says late, after a read has failed."""

import logging
import sys

import pytest

from gfvad.train.quiet import quiet_late_reads


@pytest.fixture(autouse=True)
def _nothing_has_failed_yet(monkeypatch):
    """Whatever ran in this process before, a failed read among it."""
    waits = logging.getLogger("asyncio")
    level = waits.level
    waits.setLevel(logging.NOTSET)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    yield
    waits.setLevel(level)


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
