"""Small videos on disk for the tests: folders of numbered images, and mp4 files written by PyAV."""

import av
import cv2
import numpy as np

SIZE = (32, 48)


def picture(t, seed=0, size=SIZE):
    """uint8 [H, W, 3] RGB: a square that moves two pixels a frame to the right over a still
    texture (no two frames alike)."""
    image = np.random.default_rng(seed).integers(60, 120, (*size, 1)).repeat(3, -1).astype(np.uint8)
    image = cv2.GaussianBlur(image, (5, 5), 0)
    x = 2 * t % (size[1] - 12)
    image[10:22, x : x + 12] = np.random.default_rng(seed + 1).integers(
        150, 255, (12, 12, 1), dtype=np.uint8
    )
    return image


def write_frames(folder, count, *, suffix=".jpg", start=0, digits=3, seed=0, size=SIZE):
    """A folder of images 000.jpg, 001.jpg, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(count):
        assert cv2.imwrite(
            str(folder / f"{start + t:0{digits}d}{suffix}"), picture(t, seed, size)[..., ::-1]
        )
    return folder


def write_video(path, count, *, seed=0, options=None, size=SIZE):
    """An h264 mp4 (or what the suffix says) of 25 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264" if path.suffix == ".mp4" else "mpeg4", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for t in range(count):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture(t, seed, size), format="rgb24"))
            )
        container.mux(stream.encode())
    return path


def write_set(root, *, train=(12, 9), test=(10, 7), suffix=".jpg"):
    """A set of layout 'frames' with videos 01, 02, ... of so many frames."""
    for part, lengths in (("training", train), ("testing", test)):
        for k, count in enumerate(lengths, 1):
            write_frames(root / part / "frames" / f"{k:02d}", count, suffix=suffix, seed=10 * k)
    return root
