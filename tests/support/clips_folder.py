"""A folder of short clips."""

import pytest
from media_files import tone, write_media


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two folders of small videos, one soundless, one with blanks and letters of other scripts
    in its name."""
    root = tmp_path_factory.mktemp("clips")
    for k in range(3):
        write_media(root / "calm" / f"a{k}.mp4", 20 + k, sound=tone(1.0), seed=k)
    for k in range(3):
        write_media(root / "fight" / f"b{k}.mp4", 33, sound=tone(1.3), seed=10 + k)
    write_media(root / "calm" / "stumm, ja.mp4", 17)
    write_media(root / "fight" / "監視 1.mkv", 40, sound=tone(1.6), codec="mpeg4")
    (root / "calm" / ".hidden.mp4").write_bytes(b"x")
    (root / "calm" / "notes.txt").write_bytes(b"x")
    return root
