"""A tiny folder in the layout of Ped2: 16 + 12 videos of grey noise in which a square moves, faster where the video is abnormal."""
import json
from pathlib import Path

import cv2
import numpy as np

FRAMES, SIZE = 20, (32, 48)
ABNORMAL = (6, 14)  # frames from 1, both in, of every test video


def write(root: Path) -> Path:
    rng = np.random.default_rng(0)
    spans, texts = [], {"train": [], "test": []}
    for part, folder, count in (("train", "training", 16), ("test", "testing", 12)):
        for video in range(1, count + 1):
            path = root / folder / "frames" / f"{video:02d}"
            path.mkdir(parents=True)
            still = rng.integers(90, 110, SIZE, np.uint8)
            for frame in range(FRAMES):
                picture, x = still.copy(), (frame * (3 if part == "test" else 1)) % (SIZE[1] - 8)
                picture[10:20, x : x + 8] = 220
                cv2.imwrite(str(path / f"{frame:03d}.jpg"), picture)
                texts[part].append({"video": f"{video:02d}", "frame": frame + 1, "text": "a cart drives" if part == "test" else "people walk"})
            if part == "test":
                spans.append(f"{video:02d} {ABNORMAL[0]} {ABNORMAL[1]}")
    (root / "test_spans.txt").write_text("\n".join(spans) + "\n")
    for part, rows in texts.items():
        (root / f"captions_gpt4o_{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root
