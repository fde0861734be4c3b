"""Runs and data in buckets, with a local folder in the bucket's place, and with an emulator where
one is installed."""

import importlib.util
import json
import threading

import numpy as np
import pytest

from gfvad.base import fetched, mirrors, places, storage
from gfvad.base.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GFVAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GFVAD_PROCESS", raising=False)
    fetched._fetched.cache_clear()


def bucket(tmp_path):
    """(its URL, its folder)."""
    (tmp_path / "bucket").mkdir(exist_ok=True)
    return f"file://{tmp_path}/bucket/run", tmp_path / "bucket" / "run"


def mirror_of(path):
    """The open mirror of a path."""
    found = mirrors.of(path)
    assert found is not None
    return found


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_is_published_is_what_another_process_finds(tmp_path, monkeypatch):
    url, stored = bucket(tmp_path)
    with mirrors.opened(url) as folder:
        assert list(folder.iterdir()) == []
        write(folder, log="one\n", checkpoints__5__state="five")
        mirror_of(folder / "checkpoints").publish()
        write(folder, log="one\ntwo\n", checkpoints__10__state="ten")
    assert (stored / "log").read_text() == "one\ntwo\n"
    monkeypatch.setenv("GFVAD_PROCESS", "1")
    with mirrors.opened(url) as other:
        assert other.name == "process-1"
        assert (other / "log").read_text() == "one\ntwo\n"
        assert (other / "checkpoints" / "5" / "state").read_text() == "five"
        write(other, log="of process 1, which publishes nothing")
    assert (stored / "log").read_text() == "one\ntwo\n"
    assert len(list((stored / mirrors.OWN).glob("files-*.zip"))) == 1


@pytest.mark.parametrize("cut", range(8))
def test_a_job_cut_at_any_write_leaves_what_was_published_before(tmp_path, monkeypatch, cut):
    url, stored = bucket(tmp_path)
    with mirrors.opened(url) as folder:
        write(folder, log="one\n", checkpoints__5__state="five", checkpoints__5__meta="m")
    real, count = {n: getattr(storage.Store, n) for n in ("put", "write", "remove")}, [0]

    class Cut(Exception):
        pass

    def failing(name):
        def call(self, *arguments):
            count[0] += 1
            if count[0] > cut:
                raise Cut
            return real[name](self, *arguments)

        return call

    with pytest.raises(Cut), mirrors.opened(url) as folder:
        (folder / "checkpoints" / "5" / "meta").unlink()
        (folder / "checkpoints" / "5" / "state").unlink()
        write(folder, log="one\ntwo\n", checkpoints__10__state="ten", checkpoints__10__meta="m")
        for name in real:
            monkeypatch.setattr(storage.Store, name, failing(name))
    monkeypatch.undo()
    monkeypatch.setenv("GFVAD_CACHE", str(tmp_path / "another machine"))
    with mirrors.opened(url, write=False) as folder:
        steps = sorted(p.name for p in (folder / "checkpoints").iterdir())
        told = (steps, (folder / "log").read_text())
        assert told in ((["5"], "one\n"), (["10"], "one\ntwo\n"))
        assert {p.name for p in (folder / "checkpoints" / steps[0]).iterdir()} == {"state", "meta"}


def test_a_second_job_that_publishes_is_found_out(tmp_path, monkeypatch):
    url, _ = bucket(tmp_path)
    with pytest.raises(DataError, match="another job has published there"):
        with mirrors.opened(url) as folder:
            with monkeypatch.context() as elsewhere:
                elsewhere.setenv("GFVAD_CACHE", str(tmp_path / "another machine"))
                with mirrors.opened(url) as other:
                    write(other, log="other")
            write(folder, log="mine")


def test_one_process_of_a_machine_at_a_time(tmp_path):
    url, _ = bucket(tmp_path)
    with mirrors.opened(url), pytest.raises(DataError, match="works in this copy of a run"):
        with mirrors.opened(url):
            pass


def test_changed_bytes_are_refused_by_name(tmp_path, monkeypatch):
    url, stored = bucket(tmp_path)
    with mirrors.opened(url) as folder:
        write(folder, log="one", checkpoints__5__state="five")
    (stored / "checkpoints" / "5" / "state").write_text("six.")
    monkeypatch.setenv("GFVAD_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(DataError, match="checkpoints/5/state: not what .* says of it"):
        with mirrors.opened(url):
            pass
    path = stored / mirrors.MANIFEST
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({**tree, "files": {}}))
    with pytest.raises(DataError, match="its checksum differs"), mirrors.opened(url):
        pass


def test_publishing_on_a_thread_tells_its_error_at_the_next_call(tmp_path, monkeypatch):
    url, _ = bucket(tmp_path)
    with mirrors.opened(url) as folder:
        mirror, ready = mirror_of(folder), threading.Event()
        write(folder, log="one")
        mirror.begin(after=ready.wait)
        ready.set()
        mirror.wait()
        monkeypatch.setattr(mirror.store, "write", lambda *_: 1 / 0)
        write(folder, log="two")
        mirror.begin(after=lambda: None)
        with pytest.raises(DataError, match="ZeroDivisionError"):
            mirror.wait()
        monkeypatch.undo()


def test_data_is_copied_once_and_what_changed_is_copied_again(tmp_path, monkeypatch):
    url, stored = bucket(tmp_path)
    write(stored, a="1", sub__b="2", manifest__json="{}")
    copied, get = [], storage.Store.get
    monkeypatch.setattr(
        storage.Store, "get", lambda self, n, p: copied.append(n) or get(self, n, p)
    )
    folder = fetched.local_folder(url)
    assert (folder / "sub" / "b").read_text() == "2" and sorted(copied) == [
        "a",
        "manifest/json",
        "sub/b",
    ]
    copied.clear()
    fetched._fetched.cache_clear()
    assert fetched.local_folder(url) == folder and not copied
    (stored / "a").write_text("changed")
    (folder / "sub" / "b").write_text("damaged here")
    (stored / "manifest" / "json").unlink()
    fetched._fetched.cache_clear()
    fetched.local_folder(url)
    assert sorted(copied) == ["a", "sub/b"]
    assert (folder / "a").read_text() == "changed" and (folder / "sub" / "b").read_text() == "2"
    assert not (folder / "manifest" / "json").exists()
    assert fetched.local_folder("data/x") == fetched.local_folder("data/x/")


def test_a_copy_is_compared_with_the_digest_of_the_store(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    assert storage.fits(path, "md5Hash:XUFAKrxLKna5cZ2REBfFkg==")
    assert storage.fits(path, 'ETag:"5d41402abc4b2a76b9719d911017c592"')
    assert storage.fits(path, 'ETag:"5d41402abc4b2a76b9719d911017c592-2"')  # in parts: no MD5
    assert not storage.fits(path, "md5Hash:XUFAKrxLKna5cZ2REBfFkw==")


def test_words_of_a_command_line(tmp_path):
    url, stored = bucket(tmp_path)
    write(stored, features="x")
    plain = ["train", "--config=xd", "--workdir=runs/x"]
    with places.local_words("train", plain) as words:
        assert words == plain
    given = ["--data", url, f"--config.data.root={url}", "--output=here"]
    with places.local_words("evaluate", given) as words:
        assert words[0] == "--data" and not storage.is_remote(words[1])
        assert words[2:] == given[2:]
    for command, word in (
        ("report", url),
        ("score", f"--out={url}"),
        ("ablate", f"--workdir={url}"),
    ):
        with pytest.raises(ConfigError, match="expected a local folder here"):
            with places.local_words(command, [word]):
                pass


def test_places_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="no bucket; expected gs://BUCKET"):
        storage.Store("gs://")
    with pytest.raises(DataError, match="nothing there; expected a folder of features"):
        fetched.local_folder(f"file://{tmp_path}/none")


def test_reasons_say_what_to_do():
    assert "gcloud auth" in storage.reason_of(ValueError("Unable to locate credentials"))
    assert "right to read" in storage.reason_of(PermissionError("Forbidden"))
    assert "a network" in storage.reason_of(ConnectionError("refused"))


def test_without_the_extra(monkeypatch):
    import sys

    storage._file_system.cache_clear()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setitem(sys.modules, "etils.epath.backend", None)
    with pytest.raises(DataError, match="extra 'storage' of gfvad: pip install"):
        storage.Store("gs://bucket/x")
    storage._file_system.cache_clear()


needs = {"gs": ("gcsfs", "gcp_storage_emulator"), "s3": ("s3fs", "moto")}


@pytest.mark.parametrize("scheme", needs)
def test_an_emulator_holds_runs_and_data(scheme, tmp_path):
    for name in needs[scheme]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install -r launch/requirements-emulators.txt")
    from gfvad.bench._storage_kills import BUCKET, emulator

    with emulator(scheme):
        url = f"{scheme}://{BUCKET}/run"
        content = np.random.default_rng(0).bytes(3 << 20)
        with mirrors.opened(url) as folder:
            write(folder, log="one")
            (folder / "checkpoints").mkdir()
            (folder / "checkpoints" / "state").write_bytes(content)
        fetched._fetched.cache_clear()
        copy = fetched.local_folder(url)
        assert (copy / "checkpoints" / "state").read_bytes() == content
        with mirrors.opened(url, write=False) as folder:
            assert (folder / "log").read_text() == "one"
        with pytest.raises(DataError, match="no bucket 'absent'; expected one that is there"):
            storage.Store(f"{scheme}://absent/x").require_bucket()
    storage._file_system.cache_clear()
