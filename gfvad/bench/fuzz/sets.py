"""Small sound feature sets in the published layouts: each a folder for `gfvad prepare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

UCF_SPANS = (
    "Abuse028_x264.mp4  Abuse  20  40  -1  -1  ",
    "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  ",
)
UCF_ROWS = {"Abuse001_x264": 5, "Normal_Videos003_x264": 4}
UCF_ROWS |= {"Abuse028_x264": 4, "Normal_Videos_003_x264": 3}


def numbers(*shape: int, seed: int = 0, dtype: type = np.float16) -> np.ndarray:
    """Normal numbers; the same ones for a seed."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def put(path: Path, array: np.ndarray) -> None:
    """An .npy file, folders above included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def lines(path: Path, *text: str) -> None:
    """A text file, folders above included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text) + "\n")


def captions(path: Path, **durations: float) -> None:
    """Timed sentences, one in the first half of each video."""
    told = {
        name: {
            "duration": d,
            "timestamps": [[0.0, d / 2]],
            "sentences": [f"someone runs in {name}"],
        }
        for name, d in durations.items()
    }
    path.write_text(json.dumps(told))


def generic(root: Path) -> None:
    """Two modalities in folders of train/ and test/, tables and captions."""
    rows = {"train/a": 4, "train/b": 5, "train/é": 3, "test/c": 6, "test/d": 3}
    for seed, (video, count) in enumerate(rows.items()):
        part, name = video.split("/")
        put(root / f"{part}/pose/{name}.npy", numbers(count, 7, seed=seed, dtype=np.float32))
        clip = numbers(count, 2, 9, seed=10 + seed, dtype=np.float32)
        put(root / f"{part}/clip/{name}.npy", clip)
    labels = ("a,0,", "b,1,fall;fire", "é,0,", "c,1,fall", "d,0,")
    lines(root / "labels.csv", "name,label,class", *labels)
    lines(root / "spans.csv", "name,start,end,class", "c,10,20,fall", "c,50,90,fall")
    lines(root / "frame_counts.txt", "c@96", "d@48")
    captions(root / "captions.json", a=2.56, b=3.2, c=3.84, d=1.92, é=1.92)


def xd(root: Path) -> None:
    """XD-Violence: two crops of RGB, audio, spans, frame counts."""
    train = (
        "Film.A__#00-01-00_00-02-00_label_A",
        "v=abc__#1_label_B1-0-0",
        "Film.B__#00-03-00_00-04-00_label_B2-G-0",
    )
    test = {"Film.C__#00-01-00_label_A": 81, "v=def__#1_label_G-0-0": 100}
    test |= {"Film.D__#00-05-00_label_B4-B6-0": 96}
    for seed, (end, frames) in enumerate((("", dict.fromkeys(train, 112)), ("Test", test))):
        for i, (name, count) in enumerate(frames.items()):
            rows, part = (count - 1) // 16, "test" if end else "train"
            for crop in range(2):
                put(
                    root / f"i3d-features/RGB{end}/{name}__{crop}.npy",
                    numbers(rows, 1024, seed=1000 * seed + 10 * i + crop, dtype=np.float32),
                )
            put(
                root / f"vggish-features/{part}/{name}__vggish.npy",
                numbers(rows + 1, 128, seed=9000 + 100 * seed + i, dtype=np.float32),
            )
    spans = ("v=def__#1_label_G-0-0.mp4 10 40 60 96", "Film.D__#00-05-00_label_B4-B6-0 0 50")
    lines(root / "annotations.txt", *spans)
    lines(root / "frame_counts.txt", *(f"{name}@{n}" for name, n in test.items()))


def ucf(root: Path) -> None:
    """UCF-Crime, files of ten crops of 2048 numbers."""
    for seed, (name, rows) in enumerate(UCF_ROWS.items()):
        folder = f"UCF_{'Train' if seed < 2 else 'Test'}_ten_crop_i3d"
        put(root / folder / f"{name}_i3d.npy", numbers(rows, 10, 2048, seed=seed))
    lines(root / "temporal_annotations.txt", *UCF_SPANS)


def logits(root: Path) -> None:
    """UCF-Crime's class scores in .npz files, with captions."""
    root.mkdir(parents=True, exist_ok=True)
    names = {
        "train": ["Abuse001_x264", "Normal_Videos003_x264", "Arson001_x264"],
        "test_dev": ["Abuse028_x264", "Normal_Videos_003_x264"],
    }
    for seed, (part, listed) in enumerate(names.items()):
        x = numbers(len(listed), 8, 6, seed=seed)
        np.savez(root / f"i3d_logits_{part}.npz", x=x, name=listed)
    mask = np.zeros(160, np.uint8)
    mask[20:40] = mask[100:160] = 1
    none, file = np.zeros(96, np.uint8), root / "frame_labels_test_dev.npz"
    np.savez(file, Abuse028_x264=mask, Normal_Videos_003_x264=none)
    durations = {"Abuse001_x264": 10.0, "Arson001_x264": 4.0, "Abuse028_x264": 160 / 30}
    durations |= {"Normal_Videos003_x264": 3.0, "Normal_Videos_003_x264": 3.2}
    captions(root / "captions.json", **durations)


def shanghai(root: Path) -> None:
    """ShanghaiTech by folders, with masks of the abnormal videos."""
    parts = {"01_0014": "Train", "01_001": "Train", "01_0015": "Test", "01_004": "Test"}
    for seed, (name, part) in enumerate(parts.items()):
        put(root / f"SH_{part}_ten_crop_i3d/{name}_i3d.npy", numbers(4, 10, 2048, seed=seed))
    mask = np.zeros(57, np.uint8)
    mask[30:] = 1
    put(root / "test_frame_mask/01_0015.npy", mask)


def vadclip(root: Path) -> None:
    """CLIP features in lists with paths of another machine; ten crops in training, else one."""
    rows = {"train": ["path,label"], "test": ["path,label"]}
    for seed, name in enumerate(UCF_ROWS):
        label, part = "Abuse" if "Abuse" in name else "Normal", "train" if seed < 2 else "test"
        for crop in range(10) if part == "train" else (5,):
            file = f"UCFClipFeatures/{label}/{name}__{crop}.npy"
            put(root / file, numbers(4, 512, seed=100 * seed + crop))
            rows[part].append(f"/home/other/{file},{label}")
    lines(root / "ucf_CLIP_rgb.csv", *rows["train"])
    lines(root / "ucf_CLIP_rgbtest.csv", *rows["test"])
    lines(root / "Temporal_Anomaly_Annotation.txt", *UCF_SPANS)


SETS = {  # folder -> (writer, dataset of `gfvad prepare`, further arguments)
    "generic": (generic, "generic", "--modalities=pose,clip,text"),
    "xd": (xd, "xd_violence", ""),
    "ucf": (ucf, "ucf_crime", ""),
    "logits": (logits, "ucf_logits", "--modalities=i3d_logits,text"),
    "shanghai": (shanghai, "shanghaitech", ""),
    "vadclip": (vadclip, "vadclip", ""),
}
