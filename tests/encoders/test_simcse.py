"""SimCSE's BERT from a local folder: the pooled output, as it comes; what is missing is said."""

import numpy as np
import pytest
from vision_models import libraries  # noqa: F401

from gfvad.base.types import DataError
from gfvad.encoders.registry import open_sentences


@pytest.fixture(autouse=True)
def opened_anew():
    open_sentences.cache_clear()
    yield
    open_sentences.cache_clear()


def test_the_pooled_output(tmp_path, libraries, monkeypatch):
    torch, transformers = libraries
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "walks", "runs"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(words), intermediate_size=8, **sizes)
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    monkeypatch.setenv("GFVAD_SIMCSE", str(tmp_path))
    encoder = open_sentences("simcse")
    assert encoder.width == 16 and encoder.id.startswith("simcse-")
    texts = ["a man walks", "a man"]
    found = encoder.encode(texts)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)
    with torch.inference_mode():
        for text, row in zip(texts, found):
            expected = model(**tokens(text, return_tensors="pt")).pooler_output[0]
            np.testing.assert_allclose(row, expected, atol=1e-5)


def test_without_a_folder_it_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.delenv("GFVAD_SIMCSE", raising=False)
    with pytest.raises(DataError, match="GFVAD_SIMCSE is not set, expected a folder: fetch"):
        open_sentences("simcse")
    monkeypatch.setenv("GFVAD_SIMCSE", str(tmp_path / "none"))
    with pytest.raises(DataError, match="none, expected a folder"):
        open_sentences("simcse")
