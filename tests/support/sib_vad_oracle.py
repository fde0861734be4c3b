"""SIB-VAD written out in plain numpy from its description, for ONE clip, float64, on the arrays of
a checkpoint by their names in it; and such arrays, random and by the description's formula."""

import zlib

import numpy as np
from scipy.special import erf

HEADS, TOPK = 4, 7


def wave(name, shape, scale):
    """An array that any language can repeat."""
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    start = zlib.crc32(name.encode()) % 1000
    return (scale * np.sin(0.7 * i + 0.013 * ((i % 97) * (i % 89)) + start)).reshape(shape)


def random_weights(shapes, seed=0):
    """Names -> arrays of about the size that keeps activations near 1, none of them at its
    start."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        deviation = 1.0 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.3
        norm = len(shape) == 1 and ("norm" in name or "ln_" in name) and name.endswith("weight")
        found[name] = norm + deviation * rng.normal(size=shape)
    return found


def model(w, frames, visual, patches, text):
    """(frame [3, h, w], description [V], balance) of frames [F, 3, h, w], visual [F, L, U], patches
    [L, U] and a description [V]."""
    side = w["motion_encoder.patch_emb.proj.weight"].shape[-1]
    rows, columns = frames.shape[2] // side, frames.shape[3] // side
    v = np.concatenate([linear(w, "visual_project", x) for x in visual], -1)
    v = linear(w, "temporal_project", v)
    t = linear(w, "text_project", text)[None]
    m = np.concatenate(
        [motion(w, b - a, rows, columns, side) for a, b in zip(frames, frames[1:])], -1
    )
    m = linear(w, "frame_diff_project", m)
    for i in range(layers(w, "joint_cross_attn.blocks")):
        v = cross(w, i, v, t, m)
    x = linear(w, "decoder.rgb_project.0", np.concatenate([v, m], -1))
    x = np.concatenate([t, linear(w, "decoder.rgb_project.2", gelu(x))])
    x = x + places(rows, columns, x.shape[1], 2)
    balance = 0.0
    for i in range(layers(w, "decoder.decoder_blocks")):
        x = block(w, f"decoder.decoder_blocks.{i}", x)
        x, more = mixture(w, f"decoder.moes.{i}", x)
        balance += more
    x = norm(w, "decoder.decoder_norm", x)
    skip = linear(w, "patch_emb_project", patches)
    tokens = linear(w, "decoder.decoder_pred", np.concatenate([x[2:], skip[1:]], -1))
    picture = np.zeros(frames.shape[1:])
    for r in range(rows):
        for c in range(columns):
            patch = tokens[r * columns + c].reshape(side, side, 3).transpose(2, 0, 1)
            picture[:, r * side : (r + 1) * side, c * side : (c + 1) * side] = patch
    picture = convolution(w, "decoder.final_conv.0", picture, 1)
    picture = np.where(picture >= 0, picture, 0.01 * picture)
    picture = convolution(w, "decoder.final_conv.2", picture, 0)
    said = linear(w, "decoder.text_recon.2", gelu(linear(w, "decoder.text_recon.0", x[0])))
    return picture, said, balance


def losses(w, frames, visual, patches, text):
    """Frame, text and contrast losses, and the balance term, of one clip with frame 5 behind its
    frames: [F + 1, 3, h, w]."""
    picture, said, balance = model(w, frames[:-1], visual, patches, text)
    target, last = frames[-1], frames[-2]
    cosine = said @ text / np.sqrt((said @ said) * (text @ text))
    nearer = np.maximum(0.0, (picture - target) ** 2 - (picture - last) ** 2)
    return ((picture - target) ** 2).mean(), 1 - cosine, nearer.mean(), balance


def motion(w, difference, rows, columns, side):
    """One frame difference [3, h, w] -> tokens [L, D]."""
    kernel, bias = (w[f"motion_encoder.patch_emb.proj.{n}"] for n in ("weight", "bias"))
    tokens = [w["motion_encoder.cls_token"].reshape(-1)]
    for r in range(rows):
        for c in range(columns):
            patch = difference[:, r * side : (r + 1) * side, c * side : (c + 1) * side]
            tokens.append((kernel * patch).sum((1, 2, 3)) + bias)
    x = np.stack(tokens) + places(rows, columns, len(bias), 1)
    for i in range(layers(w, "motion_encoder.encoder_blocks")):
        x = block(w, f"motion_encoder.encoder_blocks.{i}", x)
    return x


def cross(w, i, v, t, m):
    """Visual tokens look at text and motion."""
    name = f"joint_cross_attn.blocks.{i}"
    y, z = norm(w, f"{name}.ln_y", t), norm(w, f"{name}.ln_z", m)
    key, value = (
        np.concatenate(
            [linear(w, f"{name}.attn.to_{n}_y", y), linear(w, f"{name}.attn.to_{n}_z", z)]
        )
        for n in "kv"
    )
    query = linear(w, f"{name}.attn.to_q", norm(w, f"{name}.ln_attn", v))
    looked = linear(w, f"{name}.attn.out_proj", attend(query, key, value))
    v = v + w[f"joint_cross_attn.attn_gammas.{i}"] * looked
    hidden = gelu(linear(w, f"{name}.ff.net.0", norm(w, f"{name}.ln_ff", v)))
    return v + w[f"joint_cross_attn.ff_gammas.{i}"] * linear(w, f"{name}.ff.net.3", hidden)


def mixture(w, name, x):
    """Every token through the shared expert and its seven most probable ones, one by one."""
    gate = w[f"{name}.gate.weight"]
    experts, y = len(gate), np.zeros_like(x)
    slots, mass = np.zeros(experts), np.zeros(experts)
    for i, token in enumerate(x):
        probability = softmax(gate @ token)
        kept = np.argsort(-probability, kind="stable")[:TOPK]
        y[i] = expert(w, f"{name}.shared_experts", token)
        for e in kept:
            weight = 2.0 * probability[e] / probability[kept].sum()
            y[i] += weight * expert(w, f"{name}.experts.{e}", token)
        slots[kept] += 1
        mass += probability
    return y, ((slots * experts / TOPK / len(x)) * (mass / len(x))).sum()


def expert(w, name, token):
    """One expert on one token."""
    hidden = linear(w, f"{name}.down_proj", norm(w, f"{name}.pre_norm", token))
    return linear(w, f"{name}.up_proj", hidden / (1 + np.exp(-hidden)))


def block(w, name, x):
    """A transformer block."""
    parts = np.split(linear(w, f"{name}.attn.qkv", norm(w, f"{name}.norm1", x)), 3, -1)
    x = x + linear(w, f"{name}.attn.proj", attend(*parts))
    hidden = gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x)))
    return x + linear(w, f"{name}.mlp.fc2", hidden)


def attend(query, key, value):
    """Four heads, one after the other."""
    width = query.shape[1] // HEADS
    heads = []
    for h in range(HEADS):
        part = slice(h * width, (h + 1) * width)
        logits = query[:, part] @ key[:, part].T / np.sqrt(width)
        heads.append(np.stack([softmax(row) for row in logits]) @ value[:, part])
    return np.concatenate(heads, -1)


def places(rows, columns, width, before):
    """Fixed positions, by loops: column first, then row; float32, as they are stored."""
    found = np.zeros((before + rows * columns, width))
    for r in range(rows):
        for c in range(columns):
            for k in range(width // 4):
                rate = 10000.0 ** (-k / (width / 4))
                for half, place in ((0, c), (width // 2, r)):
                    at = before + r * columns + c
                    found[at, half + k] = np.sin(place * rate)
                    found[at, half + width // 4 + k] = np.cos(place * rate)
    return found.astype(np.float32)


def convolution(w, name, x, around):
    """[3, h, w] by a kernel [3, 3, k, k]."""
    kernel, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    padded = np.pad(x, ((0, 0), (around, around), (around, around)))
    found = np.zeros_like(x)
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            seen = padded[:, r : r + kernel.shape[2], c : c + kernel.shape[3]]
            found[:, r, c] = (kernel * seen).sum((1, 2, 3)) + bias
    return found


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w, name, x):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def softmax(row):
    found = np.exp(row - row.max())
    return found / found.sum()


def layers(w, name):
    return len({key[len(name) + 1 :].split(".")[0] for key in w if key.startswith(f"{name}.")})
