"""Judge and sampler against a real server: ``transformers serve`` on loopback, with SmolLM2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("openai")
pytest.importorskip("diskcache")

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence.endpoint import Endpoint, EndpointError, EndpointJudge, EndpointSampler, Limit
from apportion.evidence.huggingface import Prefix
from apportion.evidence.huggingface.serving import served

pytestmark = pytest.mark.heavy
QUESTION, ANSWER = "What is the capital of France?", "The capital of France is"


def endpoint(url: str, folder: Path, **more: Any) -> Endpoint:
    sampling = {"max_tokens": 12, "temperature": 1.0, **more.pop("sampling", {})}
    return Endpoint(url, str(folder), sampling=sampling, timeout=300.0, retries=1, **more)


def rollout(tokenizer: Any) -> ap.Batch:
    """One answer in two steps."""
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], add_generation_prompt=True, tokenize=False)
    parts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, "The capital of", " France is")]
    ids, sizes = [t for part in parts for t in part], [len(part) for part in parts]
    action = np.arange(len(ids)) >= sizes[0]
    steps = [[sizes[0] + sizes[1], sizes[2]]]
    return ap.Batch.from_turns([[len(ids)]], outcome=[1.0], action=action, ids=np.array(ids), steps=steps)


def test_a_sampler_gets_from_the_server_what_the_model_says_here(
    smollm2: tuple[Any, Any], smollm2_folder: Path, smollm2_server: str
) -> None:
    model, tokenizer = smollm2
    batch, texts = rollout(tokenizer), []

    def reward(i: int, text: str, ended: bool) -> float:
        texts.append(text)
        return float("Paris" in text)

    greedy = endpoint(smollm2_server, smollm2_folder, sampling={"temperature": 0})
    found = EndpointSampler(greedy, reward, tokenizer.decode).continuations(
        batch, np.array([1]), 1, np.random.default_rng(0), axis="step_prefix"
    )  # fmt: skip
    ids = batch.need("ids").tolist()
    cut = len(ids) - int(np.diff(batch.offsets("step"))[-1])
    made, _ = Prefix(model, ids[:cut]).generate(
        [cut], max_new_tokens=12, stop=[model.generation_config.eos_token_id], rng=np.random.default_rng(0), temperature=0
    )  # fmt: skip
    assert texts == ["The capital of" + tokenizer.decode(made[0], skip_special_tokens=True)]
    assert found.bill.scored == cut
    assert 1 <= found.bill.generated <= 12
    assert found.values.tolist() == [[float("Paris" in texts[0])]]


def test_draws_differ_and_a_limit_holds(smollm2: tuple[Any, Any], smollm2_folder: Path, smollm2_server: str) -> None:
    texts: list[str] = []

    def reward(i: int, text: str, ended: bool) -> float:
        texts.append(text)
        return 0.0

    batch, decode = rollout(smollm2[1]), smollm2[1].decode
    sampler = EndpointSampler(endpoint(smollm2_server, smollm2_folder), reward, decode)
    sampler.continuations(batch, np.array([0]), 6, np.random.default_rng(0))
    assert len(set(texts)) > 1
    spent = EndpointSampler(endpoint(smollm2_server, smollm2_folder, limit=Limit(calls=1), concurrency=1), reward, decode)
    with pytest.raises(EndpointError, match="limit of 1 calls"):
        spent.continuations(batch, np.array([0]), 3, np.random.default_rng(0))


def test_a_judge_of_this_size_is_read_strictly(smollm2: tuple[Any, Any], smollm2_folder: Path, smollm2_server: str) -> None:
    chats = [
        [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": f"{ANSWER} {x}."}] for x in ("Paris", "a cat")
    ]
    batch = ap.Batch.from_messages(chats, outcome=[1.0, 0.0], group=[0, 0])
    judge = EndpointJudge(endpoint(smollm2_server, smollm2_folder, sampling={"max_tokens": 40}))
    asked = judge.score(batch, "turn", np.random.default_rng(0))
    assert asked.bill.judge_calls == 2
    assert judge.endpoint.spent.calls == 2
    assert judge.endpoint.spent.read > 100
    assert 2 <= judge.endpoint.spent.written <= 80
    # whatever it says: an answer is a score within the scale, or it is null and kept to look at
    known = asked.values[~np.isnan(asked.values)]
    assert (np.abs(known) <= 1).all()
    assert np.isnan(asked.values).sum() == len(judge.unparsed)


def test_another_model_than_the_one_served_is_refused(smollm2_server: str) -> None:
    with pytest.raises(EndpointError, match="BadRequestError"):
        Endpoint(smollm2_server, "another", retries=0).ask([{"role": "user", "content": "x"}])


def test_a_server_that_does_not_come_up_is_an_error_that_shows_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"transformers serve ended with status"), served(tmp_path):
        raise AssertionError("came up")
