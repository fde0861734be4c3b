"""Tiny feature folders in every published layout, for the tests of layouts, audit and prepare."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from configs.common import get_config

XD_TRAIN = (
    "Film.A__#00-01-00_00-02-00_label_A",
    "v=abc__#1_label_B1-0-0",
    "Film.B__#00-03-00_00-04-00_label_B2-G-0",
)
XD_TEST = {  # name -> frames
    "Film.C__#00-01-00_label_A": 81,
    "v=def__#1_label_G-0-0": 100,
    "Film.D__#00-05-00_label_B4-B6-0": 96,
}
XD_SPANS = {
    "v=def__#1_label_G-0-0.mp4": (10, 40, 60, 100),
    "Film.D__#00-05-00_label_B4-B6-0": (0, 50),
}


def config(layout: str, root: Path, *modalities: str, **changes):
    """config.data for a folder, with the weightless encoder."""
    c = get_config().data
    c.dataset, c.layout, c.root, c.modalities = layout, layout, str(root), modalities
    c.text_encoder, c.cache_dir = "hash", str(root) + "-cache"
    for key, value in changes.items():
        c[key] = value
    return c


def features(*shape: int, seed: int = 0, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_captions(path: Path, **durations: float) -> Path:
    """One sentence in the first half of each video."""

    def entry(name: str, duration: float) -> dict:
        return {
            "duration": duration,
            "timestamps": [[0.0, duration / 2]],
            "sentences": [f"someone runs in {name}"],
        }

    path.write_text(
        json.dumps({name: entry(name, duration) for name, duration in durations.items()})
    )
    return path


def xd(root: Path, flow: bool = False, crops: int = 5) -> Path:
    """XD-Violence: T // 16 rows of RGB, one fewer of flow, one more of audio."""
    parts = {"train": dict.fromkeys(XD_TRAIN, 112), "test": XD_TEST}
    for seed, (split, names) in enumerate(parts.items()):
        for i, (name, frames) in enumerate(names.items()):
            rows, end = (frames - 1) // 16, "" if split == "train" else "Test"
            for crop in range(crops):
                number = 1000 * seed + 10 * i + crop
                save(
                    root / f"i3d-features/RGB{end}/{name}__{crop}.npy",
                    features(rows, 1024, seed=number),
                )
                if flow:
                    save(
                        root / f"i3d-features/Flow{end}/{name}__{crop}.npy",
                        features(rows - 1, 1024, seed=5000 + number),
                    )
            save(
                root / f"vggish-features/{split}/{name}__vggish.npy",
                features(rows + (not flow), 128, seed=9000 + 100 * seed + i),
            )
    write_lines(
        root / "annotations.txt",
        *(" ".join(map(str, (name, *spans))) for name, spans in XD_SPANS.items()),
    )
    write_lines(root / "frame_counts.txt", *(f"{name}@{n}" for name, n in XD_TEST.items()))
    return root


UCF_ANNOTATION = (
    "Abuse028_x264.mp4  Abuse  20  40  -1  -1  ",
    "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  ",
)
UCF_ROWS = {
    "Abuse001_x264": 5,
    "Normal_Videos003_x264": 4,
    "Abuse028_x264": 4,
    "Normal_Videos_003_x264": 3,
}


def ucf(root: Path, family: int) -> Path:
    """UCF-Crime in the 2048-d family (one file of ten crops) or the 1024-d one (ten files)."""
    for seed, (name, rows) in enumerate(UCF_ROWS.items()):
        folder = root / ("UCF_Train_ten_crop_i3d" if seed < 2 else "UCF_Test_ten_crop_i3d")
        if family == 2048:
            save(folder / f"{name}_i3d.npy", features(rows, 10, 2048, seed=seed))
        else:
            for crop in range(10):
                save(folder / f"{name}__{crop}.npy", features(rows, 1024, seed=10 * seed + crop))
    write_lines(root / "temporal_annotations.txt", *UCF_ANNOTATION)
    return root


def ucf_logits(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    train, test = features(3, 8, 6, dtype=np.float16), features(2, 8, 6, seed=1, dtype=np.float16)
    np.savez(
        root / "i3d_logits_train.npz",
        x=train,
        name=["Abuse001_x264", "Normal_Videos003_x264", "Arson001_x264"],
    )
    np.savez(
        root / "i3d_logits_test_dev.npz", x=test, name=["Abuse028_x264", "Normal_Videos_003_x264"]
    )
    mask = np.zeros(160, np.uint8)
    mask[20:40] = mask[100:160] = 1
    np.savez(
        root / "frame_labels_test_dev.npz",
        Abuse028_x264=mask,
        Normal_Videos_003_x264=np.zeros(96, np.uint8),
    )
    write_captions(root / "captions.json", Abuse001_x264=10.0, Abuse028_x264=160 / 30)
    write_lines(root / "glances_train.csv", "name,frame", "Abuse001_x264,45")
    return root


def msad(root: Path, videos: int = 10) -> Path:
    """Half of the videos abnormal in their second half, where both descriptions tell of fire."""
    root.mkdir(parents=True, exist_ok=True)
    coarse, fine, labels = {}, {}, {}
    for i in range(videos):
        name = f"Fire_{i}" if i % 2 else f"MSAD_normal_testing_{i}"
        frames = 60 + 10 * i
        labels[name] = (np.arange(frames) >= frames // 2).astype(np.uint8) * (i % 2)
        what = f"Fire and smoke, case {i}." if i % 2 else f"People walk by, case {i}."
        event = lambda first, last, text: {"first_frame": first, "last_frame": last, "text": text}
        coarse[name] = [
            event(0, frames // 2, f"A street, view {i}. Cars stand there, number {i}."),
            event(frames // 2, frames - 1, what),
        ]
        fine[name] = [event(0, 9, f"A quiet street {i}."), event(9, frames - 1, what)]
    (root / "captions_coarse_dev.json").write_text(json.dumps(coarse))
    (root / "captions_fine_dev.json").write_text(json.dumps(fine))
    np.savez(root / "frame_labels_dev.npz", **labels)
    return root


def shanghai(root: Path, lists: bool = False) -> Path:
    """Two training and two test videos; masks of the abnormal ones, one shorter than its rows."""
    for seed, (name, part) in enumerate(
        {"01_0014": "Train", "01_001": "Train", "01_0015": "Test", "01_004": "Test"}.items()
    ):
        folder = root / ("SH_ten_crop_i3d" if lists else f"SH_{part}_ten_crop_i3d")
        save(folder / f"{name}_i3d.npy", features(4, 10, 2048, seed=seed))
    if lists:
        write_lines(
            root / "shanghai-i3d-train-10crop.list",
            "/far/away/01_0014_i3d.npy",
            "/far/away/01_001_i3d.npy",
        )
        write_lines(
            root / "shanghai-i3d-test-10crop.list",
            "G:\\far\\01_0015_i3d.npy",
            "G:\\far\\01_004_i3d.npy",
        )
    mask = np.zeros(57, np.uint8)
    mask[30:] = 1
    save(root / "test_frame_mask/01_0015.npy", mask)
    save(root / "test_frame_mask/01_0014.npy", mask)
    return root


def tevad_shanghai(root: Path) -> Path:
    shanghai(root, lists=True)
    for seed, name in enumerate(("01_0014", "01_001", "01_0015", "01_004")):
        save(root / f"sent_emb_n/{name}_emb.npy", features(4 if seed else 5, 768, seed=50 + seed))
    return root


def vadclip(root: Path) -> Path:
    """Ten crops in training, crop 5 alone in testing, as published for UCF-Crime; paths of
    another machine."""
    rows = {"train": ["path,label"], "test": ["path,label"]}
    for seed, name in enumerate(UCF_ROWS):
        label, part = "Abuse" if "Abuse" in name else "Normal", "train" if seed < 2 else "test"
        for crop in range(10) if part == "train" else (5,):
            save(
                root / f"UCFClipFeatures/{label}/{name}__{crop}.npy",
                features(4, 512, seed=100 * seed + crop, dtype=np.float16),
            )
            rows[part].append(f"/home/other/UCFClipFeatures/{label}/{name}__{crop}.npy,{label}")
    write_lines(root / "ucf_CLIP_rgb.csv", *rows["train"])
    write_lines(root / "ucf_CLIP_rgbtest.csv", *rows["test"])
    write_lines(root / "Temporal_Anomaly_Annotation.txt", *UCF_ANNOTATION)
    return root


def generic_folder(root: Path) -> Path:
    """Two modalities in sub-folders of train/ and test/."""
    for seed, (part, name, rows) in enumerate(
        (("train", "a", 4), ("train", "b", 5), ("test", "c", 6), ("test", "d", 3))
    ):
        save(root / f"{part}/pose/{name}.npy", features(rows, 7, seed=seed))
        save(root / f"{part}/clip/{name}.npy", features(rows, 2, 9, seed=10 + seed))
    write_lines(
        root / "labels.csv", "name,label,class", "a,0,", "b,1,fall;fire", "c,1,fall", "d,0,"
    )
    write_lines(root / "spans.csv", "name,start,end,class", "c,10,20,fall", "c,50,100,fall")
    return root


# frames of every video of a part: 2 snippets, 3 and 2; the last holds 3 or 2 frames
PED2_FRAMES = {"train": 19, "test": 34}
PED2_SPAN = (18, 33)  # abnormal frames of every test video, from 1, both in


def ped2(root: Path) -> Path:
    """All 28 videos of Ped2 as frames of 32 x 48 pixels, with spans and descriptions; one frame
    of test 12 is not described."""
    import video_files  # needs OpenCV and PyAV

    for part, folder, videos in (("train", "training", 16), ("test", "testing", 12)):
        rows = []
        for k in range(1, videos + 1):
            video_files.write_frames(
                root / folder / "frames" / f"{k:02d}", PED2_FRAMES[part], seed=100 * len(part) + k
            )
            rows += [
                {"video": f"{k:02d}", "frame": t, "text": f"People walk, {t % 4} of {k}."}
                for t in range(1, PED2_FRAMES[part] + 1)
            ]
        rows = [row for row in rows if (part, row["video"], row["frame"]) != ("test", "12", 7)]
        write_lines(root / f"captions_gpt4o_{part}.jsonl", *map(json.dumps, rows))
    return write_lines(
        root / "test_spans.txt", *(f"{k:02d} {PED2_SPAN[0]} {PED2_SPAN[1]}" for k in range(1, 13))
    ).parent
