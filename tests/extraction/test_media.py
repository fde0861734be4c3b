"""Video files and live sources to pictures and sound: times, sizes, sound where it should be,
and errors by name."""

import resource

import av
import cv2
import numpy as np
import pytest
from media_files import tone, turn, write_media

from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.units import PATCH, RATE, Picture, Sound
from gfvad.extraction import clocks, live_sources, media, videos


def split(path, **settings):
    """(pictures, sounds) of a file."""
    found = list(media.open_media(path, **settings))
    return [p for p in found if isinstance(p, Picture)], [p for p in found if isinstance(p, Sound)]


def heard(sounds):
    """The track put together [n], from time 0."""
    track = np.zeros(max(round(s.time * RATE) + len(s.samples) for s in sounds), np.float32)
    for s in sounds:
        at = max(round(s.time * RATE), 0)
        track[at : at + len(s.samples)] = s.samples[-(len(track) - at) :]
    return track


def units(path):
    return videos.units(media.open_media(path))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_pictures_and_sound(tmp_path, suffix):
    path = write_media(
        tmp_path / f"a{suffix}",
        50,
        sound=tone(2.0),
        codec="libx264" if suffix == ".mp4" else "mpeg4",
    )
    facts = media.info(path)
    assert (facts.fps, facts.width, facts.height, facts.sound, facts.rotation) == (
        25.0,
        48,
        32,
        True,
        0,
    )
    assert facts.duration == pytest.approx(2.0, abs=0.15)
    pictures, sounds = split(path)
    np.testing.assert_allclose([p.time for p in pictures], np.arange(50) / 25, atol=2e-3)
    assert all(p.rgb.shape == (32, 48, 3) and p.rgb.dtype == np.uint8 for p in pictures)
    track = heard(sounds)
    assert abs(len(track) / RATE - 2.0) < 0.15 and all(
        s.samples.dtype == np.float32 for s in sounds
    )
    spectrum = np.abs(np.fft.rfft(track[RATE // 2 : RATE // 2 + RATE]))
    assert abs(int(spectrum.argmax()) - 440) <= 1 and np.abs(
        track[RATE // 2 : RATE]
    ).max() == pytest.approx(0.3, abs=0.05)


def test_all_units_hear_their_moment(tmp_path):
    """A tone in the second half alone: units before it are silent."""
    sound = np.concatenate([np.zeros(2 * RATE, np.float32), tone(2.0)])
    found = list(units(write_media(tmp_path / "a.mp4", 100, sound=sound)))
    assert [u.index for u in found] == list(range(7)) and [len(u.frames) for u in found] == [
        16
    ] * 6 + [4]
    loud = [float(u.sound.std()) > 0.1 for u in found]
    assert loud == [False, False, False, True, True, True, True]
    assert all(u.sound.shape == (round(PATCH * RATE),) for u in found)
    np.testing.assert_array_equal(found[1].before, found[0].frames[-1])


def test_order_in_the_file_does_not_matter(tmp_path):
    """All of the sound before the pictures, or behind them: the same units."""
    one = write_media(tmp_path / "a.mkv", 60, sound=tone(2.4), codec="mpeg4", sound_first=True)
    other = write_media(tmp_path / "b.mkv", 60, sound=tone(2.4), codec="mpeg4")
    for a, b in zip(units(one), units(other), strict=True):
        assert (a.start, a.end) == (b.start, b.end)
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.sound, b.sound)


def test_sound_that_starts_late_or_ends_early(tmp_path):
    """Units do not pile up while they wait for sound that never comes: silence takes its place."""
    for path, loud in (
        (write_media(tmp_path / "early.mp4", 400, rate=10, sound=tone(2.0)), 0),
        (write_media(tmp_path / "late.mp4", 400, rate=10, sound=tone(2.0), sound_at=36), 23),
    ):
        behind, units = 0, []
        grouper = videos.Grouper(True, 10.0)
        for piece in media.open_media(path):
            behind += isinstance(piece, Picture)
            found = grouper.push(piece)
            units += found
            behind -= sum(len(u.frames) for u in found)
            assert behind < 10 * (clocks.LAG + 3)
        units += grouper.finish()
        assert len(units) == 25 and all(u.sound is not None for u in units)
        assert units[loud].sound.std() > 0.1 > units[12].sound.std()


def test_silent_soundless_and_single(tmp_path):
    silent = write_media(tmp_path / "silent.mp4", 20, sound=np.zeros(RATE, np.float32))
    assert all(not u.sound.any() for u in units(silent))
    soundless = write_media(tmp_path / "soundless.mp4", 20)
    assert not media.info(soundless).sound and all(u.sound is None for u in units(soundless))
    (unit,) = units(write_media(tmp_path / "one.mp4", 1))
    assert (unit.start, unit.end, len(unit.frames)) == (0.0, pytest.approx(0.04), 1)


def test_odd_sizes_and_rotation(tmp_path):
    pictures, _ = split(write_media(tmp_path / "odd.mkv", 3, size=(33, 47), codec="libx264"))
    assert pictures[0].rgb.shape == (32, 46, 3)
    plain, turned = (
        write_media(tmp_path / "plain.mp4", 2),
        turn(write_media(tmp_path / "turned.mp4", 2)),
    )
    upright, base = split(turned)[0][0].rgb, split(plain)[0][0].rgb
    assert upright.shape == (48, 32, 3)
    np.testing.assert_array_equal(upright, np.rot90(base, media.info(turned).rotation // 90))
    facts = media.info(turned)
    assert (facts.width, facts.height) == (32, 48) and facts.rotation in (90, 270)


def test_variable_rate(tmp_path):
    times = [0, 40, 200, 210, 1000, 1040]
    path = write_media(tmp_path / "variable.mkv", 6, times=times, codec="libx264")
    np.testing.assert_allclose([p.time for p in split(path)[0]], np.array(times) / 1000, atol=2e-3)


def test_clock():
    """Timestamps that lack, stand still, run back or jump."""
    clock = clocks.Clock(0.04)
    assert [
        round(clock(t), 2) for t in (5.0, 5.04, None, 5.02, 5.2, 0.0, 0.04, 90000.0, 90000.5)
    ] == [5.0, 5.04, 5.08, 5.12, 5.2, 5.24, 5.28, 5.32, 5.82]


def test_huge_resolution_in_bounded_memory(tmp_path):
    path = write_media(tmp_path / "huge.mp4", 2, size=(4320, 7680), codec="mpeg4")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pictures, _ = split(path, threads=1)
    assert [p.rgb.shape for p in pictures] == [(180, 320, 3)] * 2
    # kB; a handful of decoded frames
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10
    small = split(path, side=64)[0][0].rgb
    assert small.shape == (36, 64, 3)


def test_area_average(tmp_path):
    """A picture of fine stripes becomes their mean, not some of them."""
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    with av.open(str(tmp_path / "s.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 640, 640, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stripes, format="rgb24")))
        container.mux(stream.encode())
    (only,), _ = split(tmp_path / "s.mkv")
    assert (
        only.rgb.shape == (320, 320, 3)
        and abs(float(only.rgb.mean()) - 127.5) < 2
        and only.rgb.std() < 2
    )


def broken_files(folder):
    """{name: (path, words of the error)}."""
    whole = write_media(
        folder / "whole.mp4", 80, sound=tone(3.2), options={"movflags": "faststart"}
    )
    late = write_media(folder / "late.mp4", 80)
    mkv = write_media(folder / "whole.mkv", 300, codec="mpeg4", sound=tone(12.0))
    sound_only = folder / "sound.mp4"
    with av.open(str(sound_only), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (tone(0.5) * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    contents = {
        "empty.mp4": (b"", "not a readable video"),
        "text.mp4": (b"this is no video\n" * 50, "not a readable video"),
        "picture.mp4": (
            cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes(),
            "a picture, expected a video",
        ),
        "cut.mp4": (whole.read_bytes()[: int(whole.stat().st_size * 0.6)], "cut off: "),
        "cut_index.mp4": (
            late.read_bytes()[: late.read_bytes().index(b"tkhd")],
            "no video stream in it",
        ),
        "no_index.mp4": (
            late.read_bytes()[: late.read_bytes().index(b"moov") - 10],
            "not a readable video",
        ),
        "cut.mkv": (mkv.read_bytes()[: int(mkv.stat().st_size * 0.5)], "cut off after"),
        "only_sound.mp4": (sound_only.read_bytes(), "no video stream"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return {name: (folder / name, words) for name, (_, words) in contents.items()}


def test_broken_files_by_name(tmp_path):
    for name, (path, words) in broken_files(tmp_path).items():
        with pytest.raises(DataError) as raised:
            list(media.open_media(path))
        assert str(path) in str(raised.value) and words in str(raised.value), name
    with pytest.raises(DataError, match="nothing.mp4"):
        list(media.open_media(tmp_path / "nothing.mp4"))


def test_names_of_every_kind(tmp_path):
    for name in ("wie läuft's.mp4", "監視 1.mp4", "a: b%03d.mp4", "?#[x].mp4"):
        assert len(split(write_media(tmp_path / name, 3))[0]) == 3, name


def test_damaged_sound_is_silence(tmp_path):
    """Packets of the sound that cannot be decoded do not cost the video."""
    path = write_media(tmp_path / "a.mp4", 50, sound=tone(2.0))
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(container.streams.audio[0]) if p.size]
    for at, size in packets[4:12]:
        content[at : at + size] = b"\xff" * size
    path.write_bytes(content)
    pictures, sounds = split(path)
    assert len(pictures) == 50 and len(list(units(path))) == 4 and sounds


# ---- live


class Script:
    """Stands for a source that gives what is scripted: numbers are times of frames, an error
    breaks it."""

    def __init__(self, *runs, sound=False, duration=0.0):
        self.runs, self.opened, self.waits = list(runs), 0, []
        self.facts = media.MediaInfo(duration, 10.0, 0, 4, 4, sound, 0)

    def __call__(self, source, side):
        run = self.runs[min(self.opened, len(self.runs) - 1)]
        self.opened += 1
        if isinstance(run, Exception):
            raise run
        return Played(run, self.facts)


class Played:
    def __init__(self, run, info):
        self._run, self.info = run, info

    def __iter__(self):
        for step in self._run:
            if isinstance(step, Exception):
                raise step
            yield step if isinstance(step, Sound) else Picture(step, np.zeros((4, 4, 3), np.uint8))

    def close(self):
        pass


def test_a_stream_that_breaks_is_opened_again():
    gone = DataError("rtsp://x: connection lost")
    script = Script([0.0, 0.1, gone], gone, gone, [0.0, 0.1], [0.0, gone], gone)
    said, waits = [], []
    stream = live_sources.Live(
        "rtsp://x", say=said.append, sleep=waits.append, opener=script, reconnect=3.0, max_retries=4
    )
    times = []
    with pytest.raises(DataError, match="4 attempts to connect again failed"):
        for piece in stream:
            times.append(piece.time)
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3, 0.4])
    assert waits == [1.0, 2.0, 3.0, 1.0, 1.0, 2.0, 3.0, 3.0] and stream.breaks == 2
    assert len(said) == 8 and "connection lost" in said[0] and "it ended" in said[3]


def test_a_stream_that_is_not_there_yet_is_waited_for():
    gone = DataError("rtsp://user:pass@x: cannot be opened (Connection refused)")
    said, waits = [], []
    script = Script(gone, gone, gone, [0.0, 0.1, DataError("enough")], gone)
    stream = live_sources.Live(
        "rtsp://user:pass@x", say=said.append, sleep=waits.append, opener=script, max_retries=3
    )
    assert waits == [1.0, 2.0, 4.0] and stream.breaks == 0 and stream.info.fps == 10.0
    assert all("not there yet" in line and "Connection refused" in line for line in said)
    with pytest.raises(DataError, match="3 attempts") as ended:
        list(stream)
    assert not [line for line in [*said, str(ended.value)] if "pass" in line or "user" in line]


def test_a_stream_that_may_not_be_opened_again():
    script = Script([0.0, DataError("rtsp://x: connection lost")])
    with pytest.raises(DataError, match="connection lost"):
        list(live_sources.Live("rtsp://x", opener=script, reconnect=0))
    with pytest.raises(DataError, match="refused"):
        live_sources.Live("rtsp://x", reconnect=0, opener=Script(DataError("rtsp://x: refused")))


def test_a_stream_of_stated_length_ends():
    assert (
        len(list(live_sources.Live("http://x/a.mp4", opener=Script([0.0, 0.1], duration=0.2)))) == 2
    )


def test_sound_that_is_gone_after_a_break():
    """The track of before is silence then, so that units do not wait for it."""
    script = Script(
        [Sound(0.0, tone(0.2)), 0.0, 0.1, DataError("x")], [k / 10 for k in range(60)], sound=True
    )
    first, second = script.facts, script.facts._replace(sound=False)
    opener = lambda source, side: Played(
        script.runs[min(script.opened, 1)], first if not script.opened else second
    )

    def counted(source, side):
        found = opener(source, side)
        script.opened += 1
        return found

    stream = live_sources.Live("rtsp://x", opener=counted, sleep=lambda s: None, max_retries=1)
    found = []
    grouper = videos.Grouper(True, 10.0)
    with pytest.raises(DataError):
        for k, piece in enumerate(stream):
            found += grouper.push(piece)
            if k > 400:
                raise DataError("enough")
    assert len(found) >= 3


def test_a_file_once_and_again_and_again(tmp_path):
    path = write_media(tmp_path / "a.mp4", 10, sound=tone(0.4))
    stream = live_sources.Live(path)
    assert stream.info.sound and sum(isinstance(p, Picture) for p in stream) == 10
    stream, times = live_sources.Live(path, loop=True), []
    while len(times) < 35:
        piece = next(stream)
        if isinstance(piece, Picture):
            times.append(piece.time)
    stream.close()
    np.testing.assert_allclose(times, np.arange(35) / 25, atol=5e-3)


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="no such device /dev/video99"):
        live_sources.Live("camera:99", reconnect=0)
    with pytest.raises(
        DataError, match="not there yet .*no such device /dev/video99.* and 2 attempts"
    ):
        live_sources.Live("camera:99", max_retries=2, sleep=lambda s: None)
    with pytest.raises(ConfigError, match="rstp://.*cannot read such a source"):
        live_sources.Live("rstp://user:pass@host/1")
    with pytest.raises(DataError, match="nothing.mp4"):
        live_sources.Live(tmp_path / "nothing.mp4")
    assert (
        live_sources.is_file("camera.mp4")
        and not live_sources.is_file("rtsp://host/1")
        and not live_sources.is_file("camera:0")
    )
