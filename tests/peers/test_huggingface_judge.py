"""A local model as a judge: the chances of its answers, equal to reading every question by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence import Judge
from apportion.evidence.huggingface import HFJudge
from apportion.evidence.huggingface.judge import ASKED, PLAIN, chosen
from apportion.evidence.rubrics import Rubric

RUBRIC = Rubric("three", "Task: {question}\n{units}\nJudge.", (-1.0, 0.0, 1.0))


class Letters:
    """A tokenizer of bytes; ``chat_template`` puts a frame around a question."""

    bos_token = ""

    def __init__(self, frame: tuple[str, str] | None = None) -> None:
        self.frame, self.chat_template = frame, frame and "yes"

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode())}

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        return bytes(ids).decode()

    def apply_chat_template(self, chat: list[dict[str, str]], add_generation_prompt: bool, tokenize: bool) -> str:
        assert self.frame
        return self.frame[0] + chat[0]["content"] + self.frame[1]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, initializer_range=0.4,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def batch() -> ap.Batch:
    """Two answers in two steps, one in one."""
    texts = ["ab", "cde", "f", "g", "hij"]
    ids = [b for text in texts for b in text.encode()]
    return ap.Batch.from_turns(
        [[5], [2], [3]], steps=[[2, 3], [1, 1], [3]], ids=ids, group=[0, 0, 0], outcome=[1.0, 0.0, 1.0], limit=8
    )  # fmt: skip


def chance(model: Any, text: str, answer: str) -> float:
    """Log-probability of the answer, the whole text read by itself."""
    ids, n = [*text.encode(), *answer.encode()], len(answer)
    with torch.no_grad():
        logp = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return sum(float(logp[len(ids) - n - 1 + j, ids[len(ids) - n + j]]) for j in range(n))


def test_a_step_is_scored_by_the_chances_of_yes_and_no_after_what_stands_up_to_it(model: Any, batch: ap.Batch) -> None:
    tokenizer = Letters(("<u>", "</u>"))
    judge = HFJudge(model, tokenizer, questions=["one", "two", "three"])
    assert isinstance(judge, Judge)
    asked = judge.score(batch, "step", np.random.default_rng(0))
    expected = []
    for task, so_far in (("one", "ab"), ("one", "abcde"), ("two", "f"), ("two", "fg"), ("three", "hij")):
        text = "<u>" + PLAIN.format(question=task) + so_far + ASKED + "</u>"
        yes, no = (np.exp(chance(model, text, answer)) for answer in ("Yes", "No"))
        expected.append((yes - no) / (yes + no))
    np.testing.assert_allclose(asked.values, expected, atol=1e-5)
    assert np.ptp(asked.values) > 0.01
    assert asked.bill.judge_calls == 5


def test_what_comes_after_a_step_does_not_change_its_score(model: Any, batch: ap.Batch) -> None:
    judge = HFJudge(model, Letters(), questions=["t"] * 3)
    ids = np.array(batch.need("ids"))
    ids[2:5] = ord("z")
    before, after = (judge.score(b, "step", np.random.default_rng(0)).values for b in (batch, batch.with_columns(ids=ids)))
    assert before[0] == pytest.approx(after[0], abs=1e-6)
    assert before[1] != pytest.approx(after[1], abs=1e-6)


def test_with_a_rubric_the_likeliest_letter_wins_with_all_steps_in_view(model: Any, batch: ap.Batch) -> None:
    judge = HFJudge(model, Letters(), questions=["t"] * 3)
    asked = judge.score(batch, "step", np.random.default_rng(0), rubric=RUBRIC)
    shown = "Task: t\n<step_0>\nab\n</step_0>\n\n<step_1>\ncde\n</step_1>\nJudge."
    for k in range(2):
        text = shown + f"\n\nAnswer for <step_{k}> only, with a letter: A for -1, B for 0, C for 1.\n"
        best = int(np.argmax([chance(model, text, letter) for letter in "ABC"]))
        assert asked.values[k] == RUBRIC.levels[best]
    alone = judge.score(batch, "step", np.random.default_rng(0), rubric=replace(RUBRIC, one_call=False))
    assert np.isin(alone.values, RUBRIC.levels).all()


def test_the_worst_level_is_given_once_where_the_rubric_says_so() -> None:
    logp = np.log([[0.6, 0.1, 0.3], [0.8, 0.15, 0.05], [0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    owner = np.array([0, 0, 0, 1])
    assert chosen(logp, owner, False).tolist() == [0, 0, 1, 0]
    assert chosen(logp, owner, True).tolist() == [2, 0, 1, 0]


def test_a_method_takes_its_scores(model: Any, batch: ap.Batch) -> None:
    credit = ap.assign(batch, "pure", judge=HFJudge(model, Letters(), questions=["t"] * 3), rng=0)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.unit).all()
    assert credit.bill.judge_calls == 5


def test_what_cannot_be_asked_is_refused_before_any_work(model: Any, batch: ap.Batch) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(OptionError, match="questions has 1 entries, expected 3"):
        HFJudge(model, Letters(), questions=["t"]).score(batch, "step", rng)
    shown = replace(RUBRIC, template="{reference}{units}", privileged=True)
    with pytest.raises(OptionError, match=r"give the judge references=\[...\]"):
        HFJudge(model, Letters()).score(batch, "step", rng, rubric=shown)
    with pytest.raises(OptionError, match="11 levels: letters stand for at most 10"):
        HFJudge(model, Letters()).score(batch, "step", rng, rubric=replace(RUBRIC, levels=tuple(range(11))))
    with pytest.raises(OptionError, match="positions for 512"):
        HFJudge(model, Letters(), questions=["t", "x" * 600, "t"]).score(batch, "step", rng)


def test_token_ids_that_its_tokenizer_did_not_make_are_refused_before_they_are_decoded(model: Any, batch: ap.Batch) -> None:
    class Named(Letters):
        name_or_path = "own"

        def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
            return super().decode([i + 1 for i in ids])  # other words

    rng = np.random.default_rng(0)
    chats = [[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]] * 2
    words = ap.Batch.from_messages(chats, outcome=[1.0, 0.0])
    judge = HFJudge(model, Named(), questions=["t", "t"])
    for rubric in (None, RUBRIC):
        with pytest.raises(OptionError, match="hashes of words"):
            judge.score(words, "turn", rng, rubric=rubric)
        ids = np.frombuffer(b"onetwo" * 2, dtype=np.uint8).astype(np.int64)
        theirs = ap.Batch.from_turns([[6]] * 2, outcome=[1.0, 0.0], ids=ids, text=["onetwo"] * 2, meta={"tokenizer": "theirs"})
        with pytest.raises(OptionError, match=r"by the tokenizer 'theirs'; by the given one \('own'\) they read otherwise: give"):
            judge.score(theirs, "turn", rng, rubric=rubric)
        with pytest.raises(OptionError, match="token 2: id 256, but LlamaForCausalLM knows 0 to 255"):
            judge.score(theirs.with_columns(ids=np.where(np.arange(12) == 2, 256, ids)), "turn", rng, rubric=rubric)
    assert np.isfinite(judge.score(theirs.with_columns(ids=None), "turn", rng).values).all()  # the text itself is read


def test_logits_that_are_no_numbers_are_an_error_with_their_place(model: Any, batch: ap.Batch) -> None:
    with torch.no_grad():
        broken = transformers.LlamaForCausalLM(model.config).eval()
        broken.lm_head.weight.fill_(float("nan"))
    for rubric in (None, RUBRIC):
        with pytest.raises(OptionError, match="trajectory 0"):
            HFJudge(broken, Letters()).score(batch, "step", np.random.default_rng(0), rubric=rubric)
