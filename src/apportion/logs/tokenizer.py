"""Text to token ids, by a tokenizer the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..edges.messages import Tokenizer
from ..errors import OptionError


def load(tokenizer: Any) -> Tokenizer | None:
    """A function from text to ids: the one given, or that of a Hugging Face tokenizer's folder; None for words."""
    if tokenizer is None or (callable(tokenizer) and not isinstance(tokenizer, (str, Path))):
        return tokenizer
    folder = Path(tokenizer)
    if not folder.exists():
        raise OptionError(f"tokenizer = {str(tokenizer)!r}: expected a folder with a saved Hugging Face tokenizer")
    try:
        from transformers import AutoTokenizer  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise OptionError("tokenizer= needs the package transformers: pip install transformers") from None
    held = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)

    def encode(text: str) -> Any:
        return held(text, add_special_tokens=False)["input_ids"]

    encode.__qualname__ = str(folder.name)
    return encode
