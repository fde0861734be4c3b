"""Which files are videos, whatever their names, what is passed over, and what is no file at all:
by the commands, and by every reader of media."""

import os
import shutil
from functools import partial
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from extracting import call, read_manifest
from media_files import tone, write_media

from gfvad.base.types import DataError
from gfvad.commands import score
from gfvad.data.frames import containers, decode, finding
from gfvad.data.frames.video_folders import gather, open_layout
from gfvad.encoders.units import Picture
from gfvad.extraction import media, videos
from gfvad.measure.score_result import VideoScores
from gfvad.reporting import folders, transcode
from gfvad.scoring import job

FRAMES = 20
# of suffixes known and unknown
NAMES = (
    "a.ts",
    "b.TS",
    "c.3gp",
    "d.flv",
    "e.wmv",
    "f.mts",
    "g.dav",
    "h.gif",
    "i.MP4",
    "j.xyz",
    "k",
)
OTHERS = ("cover.jpg", "notes.txt", "table.csv", "sound.wav", "x.npy", "random.xyz", "empty.mp5")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of videos of every name, and beside them what is none."""
    root = tmp_path_factory.mktemp("made")
    folder = root / "set"
    whole = write_media(root / "v.mp4", FRAMES)
    stream = write_media(root / "v.ts", FRAMES, codec="mpeg4")
    gif = root / "v.gif"
    with av.open(str(gif), "w") as container:
        track = container.add_stream("gif", rate=10)
        track.height, track.width, track.pix_fmt = 32, 48, "rgb8"
        for t in range(FRAMES):
            container.mux(
                track.encode(
                    av.VideoFrame.from_ndarray(
                        np.full((32, 48, 3), 10 * t, np.uint8), format="rgb24"
                    ).reformat(format="rgb8")
                )
            )
        container.mux(track.encode())
    folder.mkdir()
    for name in NAMES:
        shutil.copy(
            {"t": stream, "g": gif}.get(name[2:3].lower() if name != "g.dav" else "", whole),
            folder / name,
        )
    shutil.copy(gif, folder / "h.gif")
    cv2.imwrite(str(folder / "cover.jpg"), np.zeros((32, 48, 3), np.uint8))
    (folder / "notes.txt").write_text("no video\n" * 50)
    (folder / "table.csv").write_text("name,label\n")
    (folder / "x.npy").write_bytes(b"\x93NUMPY")
    (folder / "random.xyz").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "empty.mp5").write_bytes(b"")
    (folder / "sound.wav").write_bytes((tone(0.5) * 32767).astype(np.int16).tobytes())
    (folder / ".hidden.mp4").write_bytes(b"x")
    return folder


@pytest.fixture
def frames(tmp_path, made):
    """The same folder without its picture: one with pictures is a video of frames to the
    predictive model."""
    folder = tmp_path / "set"
    shutil.copytree(made, folder)
    (folder / "cover.jpg").unlink()
    return folder


@pytest.fixture
def fake_scorer(monkeypatch):
    """A predictive model that scores each frame 0."""

    def score_video(path, descriptions, progress):
        number = sum(1 for _ in decode.read_video(path, decode.GREY))
        times = np.arange(number + 1) / 25
        return VideoScores(
            "", str(path), 25.0, number, times[:-1], times[1:], np.zeros(number), {}, None
        )

    from gfvad.tasks.prediction.scorer import PredictiveScorer

    fake = SimpleNamespace(
        kind="predictive",
        bounded=False,
        path="fake",
        contributors=(),
        needs_text=False,
        threshold=0.5,
        threshold_rule="",
        alarm_gap=1.0,
        name="fake",
        terms=(),
        score_video=score_video,
    )
    fake.find = partial(PredictiveScorer.find, fake)
    monkeypatch.setattr(job, "open_scorer", lambda request: fake)


def pictures(path):
    return sum(isinstance(piece, Picture) for piece in media.open_media(path))


READERS = {
    "extraction": pictures,
    "predictive": lambda path: sum(1 for _ in decode.read_video(path, decode.GREY)),
    "first frame": lambda path: decode.first_frame(gather(path, "test")[0]),
    "report": transcode.to_mp4,
    "facts": media.info,
    "length": transcode.length_of,
}


def test_extract_takes_what_decodes(made, tmp_path, capsys):
    assert call(made, f"--out={tmp_path / 'out'}", "--modalities=motion") == 0
    found = read_manifest(tmp_path / "out")["videos"]
    assert set(found) == {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j.xyz", "k"} and all(
        r["frames"] == FRAMES for r in found.values()
    )
    said = capsys.readouterr().err
    assert (
        "passed over: 7 files that hold no video: cover.jpg" in said
        and "and 2 more" in said
        and "hidden" not in said
    )


def test_score_takes_what_decodes(frames, tmp_path, capsys, fake_scorer):
    assert score.main(["--model=none", str(frames), f"--out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr()
    assert (
        "passed over: 6 files that hold no video" in said.err
        and f"11 videos, {11 * FRAMES} units" in said.out
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_given_is_tried(made, tmp_path, capsys, fake_scorer, name):
    assert call(made / name, f"--out={tmp_path / 'out'}", "--modalities=motion") == 0
    assert score.main(["--model=none", str(made / name), f"--out={tmp_path / 'scores'}"]) == 0
    assert f"1 videos, {FRAMES} units" in capsys.readouterr().out


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_none_is_named(made, tmp_path, capsys, fake_scorer, name):
    assert call(made / name, f"--out={tmp_path / 'out'}", "--modalities=motion") == 1
    assert score.main(["--model=none", str(made / name), f"--out={tmp_path / 'scores'}"]) == 1
    said = capsys.readouterr().err
    assert said.count(str(made / name)) >= 2 and "Traceback" not in said


def test_a_folder_without_any_is_an_error(made, tmp_path, fake_scorer, capsys):
    folder = tmp_path / "none"
    folder.mkdir()
    for name in OTHERS[1:]:
        shutil.copy(made / name, folder)
    with pytest.raises(DataError, match="no videos in it .passed over: 6 files"):
        videos.find_videos([folder])
    assert score.main(["--model=none", str(folder), f"--out={tmp_path / 'scores'}"]) == 2
    assert "no videos" in capsys.readouterr().err


def test_reports_find_them_again(made):
    found = folders.names_below(made)
    assert {"a", "c", "g", "h", "i", "j.xyz", "k"} <= set(found) and not {
        "notes",
        "random",
        "random.xyz",
    } & set(found)


# ---- what is no file


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
    ],
    ids=["pipe", "loop", "device", "folder", "empty"],
)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_no_reader_hangs(tmp_path, read, make):
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(DataError, match=r"film\.mp4"):
        read(path)


def test_folders_with_pipes_and_loops(frames, tmp_path, capsys, fake_scorer):
    os.mkfifo(frames / "pipe.mp4")
    (frames / "loop.mp4").symlink_to(frames / "loop.mp4")
    (frames / "again").symlink_to(frames)
    (frames / "zero.mp4").symlink_to("/dev/zero")
    assert call(frames, f"--out={tmp_path / 'out'}", "--modalities=motion") == 0
    assert (
        len(read_manifest(tmp_path / "out")["videos"]) == 11
        and "passed over: 10 files" in capsys.readouterr().err
    )
    (frames / "again").unlink()
    assert score.main(["--model=none", str(frames), f"--out={tmp_path / 'scores'}"]) == 0
    assert "passed over: 9 files" in capsys.readouterr().err


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path)])
def test_images_that_are_no_files(tmp_path, make):
    make(tmp_path / "000.jpg")
    with pytest.raises(DataError, match=r"000\.jpg"):
        decode.read_image(tmp_path / "000.jpg", decode.GREY)


def test_a_list_of_streams_opens_none(tmp_path):
    """A file that names an address is no way to it."""
    (tmp_path / "x.mp4").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP"
        " 96\na=rtpmap:96 H264/90000\n"
    )
    (tmp_path / "y.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:1/a.ts\n"
    )
    for name in ("x.mp4", "y.mp4"):
        with pytest.raises(DataError, match=name):
            pictures(tmp_path / name)


# ---- transport streams


def joined(path, *parts):
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(scope="module")
def transport(tmp_path_factory):
    """(bytes of a transport stream of 100 frames with sound, of another one)."""
    root = tmp_path_factory.mktemp("transport")
    return [
        write_media(root / f"{k}.ts", 100, size=(96, 128), codec="mpeg4", seed=k).read_bytes()
        for k in range(2)
    ]


def decoded(read, path):
    return read(path) if read is pictures else sum(1 for _ in decode.read_video(path, decode.GREY))


@pytest.mark.parametrize("read", [pictures, decode.read_video])
def test_joined_streams_are_read_through(tmp_path, transport, read):
    """Case 15: the times run back where the second begins, and go on."""
    path = joined(tmp_path / "join.mpg", *transport)
    assert decoded(read, path) == 200
    if read is pictures:
        times = [piece.time for piece in media.open_media(path) if isinstance(piece, Picture)]
    else:
        times = []
        list(decode.read_video(path, decode.GREY, times))
    np.testing.assert_allclose(times, np.arange(200) / 25, atol=5e-3)


@pytest.mark.parametrize("read", [pictures, decode.read_video])
def test_a_stream_with_a_hole_says_where(tmp_path, transport, read):
    content = transport[0]
    at = len(content) // 188 // 2 * 188
    with pytest.raises(
        DataError, match=r"hole\.ts: damaged after \d+ frames: \d\.\d\d s are missing"
    ) as raised:
        decoded(read, joined(tmp_path / "hole.ts", content[:at], content[at + 188 * 60 :]))
    assert "expected 0" not in str(raised.value)


@pytest.fixture(scope="module")
def cases(repository):
    """The inputs that once went wrong; tests that need them skip where they are missing."""
    root = repository.parent / "shared" / "cases"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    return root


def test_cases_of_videos(cases, tmp_path):
    """Cases 14 and 15, as files and as folders."""
    for given, count in (
        ("14-video-suffixes", {"38": 100, "39": 100}),
        ("14-video-suffixes/38.ts", {"38": 100}),
        ("15-joined-transport-stream/join.mpg", {"join": 400}),
    ):
        out = tmp_path / given.replace("/", "_")
        assert call(cases / given, f"--out={out}", "--modalities=motion,audio") == 0
        assert {n: r["frames"] for n, r in read_manifest(out)["videos"].items()} == count
    assert (
        sum(
            1 for _ in decode.read_video(cases / "15-joined-transport-stream/join.mpg", decode.GREY)
        )
        == 400
    )


def test_layouts_name_what_they_pass_over(frames):
    layout = open_layout("any", frames)
    assert len(layout.videos("test")) == 11 and len(layout.passed) == 6
    assert finding.passed_over(layout.passed).startswith(
        "passed over: 6 files that hold no video: "
    ) and not finding.passed_over([])


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_codec_that_nobody_knows(tmp_path, read):
    path = write_media(tmp_path / "film.avi", 5, codec="mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"Z9Q7").replace(b"fmp4", b"z9q7"))
    with pytest.raises(DataError, match=r"film\.avi: its video is of a codec"):
        read(path)
    assert not containers.has_frames(path)
