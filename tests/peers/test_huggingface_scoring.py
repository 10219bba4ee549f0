"""Packed texts score as each alone, methods that ask a policy are fed by a model, and what cannot be read is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence.cuts import prefix_tokens
from apportion.evidence.huggingface import HFPolicy
from apportion.evidence.huggingface.packing import bins, packs
from apportion.evidence.huggingface.scoring import token_logp

V, N = 41, 4
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5}


def made(kind: str, seed: int = 0, **more: Any) -> Any:
    """A tiny model with random weights."""
    torch.manual_seed(seed)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=V, n_positions=128, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5)
        return transformers.GPT2LMHeadModel(config)  # in training mode, with dropout
    if kind == "bloom":
        config = transformers.BloomConfig(vocab_size=V, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.5)
        return transformers.BloomForCausalLM(config).eval()
    if kind == "gemma2":
        config = transformers.Gemma2Config(
            vocab_size=V, intermediate_size=24, num_key_value_heads=1, head_dim=8, sliding_window=4, final_logit_softcapping=2.0,
            max_position_embeddings=128, **SIZES,
        )  # fmt: skip
        return transformers.Gemma2ForCausalLM(config).eval()
    config = transformers.LlamaConfig(
        vocab_size=V, intermediate_size=24, num_key_value_heads=1, **{"max_position_embeddings": 128, **SIZES, **more}
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return made("llama")


def text(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(2, V, size=n).tolist()  # type: ignore[no-any-return]


def alone(model: Any, said: list[int]) -> Any:
    """Log-probability of every token (0 for the first), from the text by itself."""
    with torch.no_grad():
        chance = torch.log_softmax(model(torch.tensor([said])).logits[0, :-1].double(), -1)
    return np.append(0.0, chance.gather(1, torch.tensor(said[1:])[:, None])[:, 0].numpy())


@pytest.mark.parametrize(("kind", "packed"), [("llama", True), ("gpt2", True), ("gemma2", True), ("bloom", False)])
def test_packed_or_padded_every_model_scores_texts_as_each_alone(kind: str, packed: bool) -> None:
    model = made(kind)
    assert packs(model) is packed
    texts = [text(i, n) for i, n in enumerate((9, 2, 17, 5, 9, 1, 30))]
    masks = [np.random.default_rng(i).random(len(t)) < 0.5 for i, t in enumerate(texts)]
    training = model.training
    for most in (1, 40, None):
        logp, entropy = token_logp(model, texts, wanted=masks, max_tokens=most)
        assert model.training is training
        model.eval()
        for said, mask, own, spread in zip(texts, masks, logp, entropy, strict=True):
            np.testing.assert_allclose(own, np.where(mask, alone(model, said), 0.0), atol=1e-4)
            assert not spread[~mask].any()
            assert (spread[1:][mask[1:]] > 0).all()
        model.train(training)


def test_a_model_that_looks_over_the_border_is_not_packed() -> None:
    model = made("llama")
    forward = model.forward

    def leaky(*args: Any, position_ids: Any = None, **more: Any) -> Any:
        return forward(*args, **more)  # the texts are one text to it

    model.forward = leaky
    assert not packs(model)


def test_batches_hold_every_text_once_and_no_more_tokens_than_allowed() -> None:
    lengths = [5, 0, 3, 12, 4, 4, 1]
    for packed in (True, False):
        found = bins(lengths, 10, packed=packed)
        assert sorted(i for some in found for i in some) == [0, 2, 3, 4, 5, 6]
        for some in found:
            own = [lengths[i] for i in some]
            assert len(some) == 1 or (sum(own) if packed else max(own) * len(own)) <= 10
    assert [[lengths[i] for i in some] for some in bins(lengths, 10)] == [[1, 3, 4], [4, 5], [12]]
    assert [[lengths[i] for i in some] for some in bins(lengths, 10, packed=False)] == [[1, 3], [4, 4], [5], [12]]


# --- methods that ask a policy --------------------------------------------------------------------------------------


class Words:
    """Numbers are ids; all other words are one id each."""

    def __call__(self, said: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [int(w) if w.isdigit() and int(w) < V else 2 + len(w) for w in said.split()]}


def rollouts() -> ap.Batch:
    """Two prompts of two rollouts, of two turns each: 3 tokens shown, then 3 and 2 written, with one shown in between."""
    action = np.tile([False, False, False, True, True, True, False, True, True], N)
    return ap.Batch.from_turns(
        [[6, 3]] * N, action=action, ids=np.array(text(5, 9 * N)), outcome=[1.0, 0.0, 0.0, 1.0], group=[0, 0, 1, 1]
    )  # fmt: skip


def policy(model: Any) -> HFPolicy:
    return HFPolicy(model, Words(), answers=["7 8", "9", [5, 6, 7], "11"])


class OneByOne:
    """The plain way: a text of its own for every trajectory, prefix and context."""

    provenance = "model_judgement"

    def __init__(self, of: HFPolicy) -> None:
        self.of = of

    def ids(self, batch: ap.Batch, i: int) -> list[int]:
        return batch.need("ids")[9 * i : 9 * i + 9].tolist()  # type: ignore[no-any-return]

    def logp(self, batch: ap.Batch, rng: Any, *, hindsight: Any = None) -> Any:
        values = []
        for i in range(N):
            said = self.ids(batch, i)
            told = Words()(hindsight[i], add_special_tokens=False)["input_ids"] if hindsight else []
            first = alone(self.of.model, [*said[:3], *told, *said[3:6]])[3 + len(told) :]
            second = alone(self.of.model, [*said[:3], *told, *said[3:7], *told, *said[7:]])[-2:]
            values += [0, 0, 0, *first, 0, *second]
        return ap.evidence.Asked(np.array(values), ap.evidence.Bill(scored=1.0))

    def answer_logp(self, batch: ap.Batch, rng: Any, *, axis: Any = "prefix") -> Any:
        values, cuts = [], prefix_tokens(batch, axis)
        for cut, i in zip(cuts, batch.within(axis, "trajectory"), strict=True):
            given = self.of.answers[i]  # type: ignore[index]
            answer = Words()(given, add_special_tokens=False)["input_ids"] if isinstance(given, str) else list(given)
            values.append(alone(self.of.model, self.ids(batch, i)[: cut - 9 * i] + answer)[-len(answer) :].mean())
        return ap.evidence.Asked(np.array(values), ap.evidence.Bill(scored=1.0))


ASKING = sorted(id_ for id_, method in ap.methods().items() if method.source == "policy")
COLUMNS = sorted(
    id_ for id_, method in ap.methods().items()
    if method.source is None and not method.evidence and method.reads & {"logp", "ref_logp", "entropy"}
)  # fmt: skip


@pytest.mark.parametrize("id_", ASKING)
def test_every_method_that_asks_a_policy_is_fed_by_a_model(model: Any, id_: str) -> None:
    batch, _ = policy(model).columns(rollouts(), reference=made("llama", 1))
    asked = policy(made("llama", 2))  # a reward model is another model than the policy
    found = ap.assign(batch, id_, policy=asked, rng=0)
    naive = ap.assign(batch, id_, policy=OneByOne(asked), rng=0)
    assert isinstance(found, ap.Credit)
    assert isinstance(naive, ap.Credit)
    assert np.isfinite(found.token).all()
    assert found.unit.any()
    assert found.bill.scored >= batch.n_tokens
    np.testing.assert_allclose(found.token, naive.token, atol=1e-3)


@pytest.mark.parametrize("id_", COLUMNS)
def test_methods_that_read_log_probabilities_get_their_columns_from_models(model: Any, id_: str) -> None:
    reference = made("llama", 1)
    batch, bill = policy(model).columns(rollouts(), reference=reference)
    assert bill.scored == 2 * batch.n_tokens
    credit = ap.assign(batch, id_, rng=0)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.token).all()
    assert credit.token.any()
    for name, of in (("logp", model), ("ref_logp", reference)):
        expected = np.concatenate([alone(of, text(5, 9 * N)[9 * i : 9 * i + 9]) for i in range(N)])
        np.testing.assert_allclose(getattr(batch, name), np.where(batch.action, expected, 0.0), atol=1e-4)


def test_the_lists_of_methods_are_what_we_think() -> None:
    assert {"a2tgpo", "acpo", "hca", "hcapo", "istar", "prime", "t_reg"} <= set(ASKING)
    assert {"spro", "prl"} <= set(COLUMNS)


def test_a_critic_may_be_told_the_reference_answer_once(model: Any) -> None:
    batch, asked = rollouts(), policy(model)
    told = asked.told_logp(batch, ["7 8", [9], None, "11"])
    for i, extra in enumerate(([7, 8], [9], [], [11])):
        said = text(5, 9 * N)[9 * i : 9 * i + 9]
        own = alone(model, [*said[:3], *extra, *said[3:]])[[*range(3), *range(3 + len(extra), 9 + len(extra))]]
        here = slice(9 * i, 9 * i + 9)
        np.testing.assert_allclose(told.values[here], np.where(batch.action[here], own, 0.0), atol=1e-4)
    seed = asked.logp(batch, np.random.default_rng(0))
    credit = ap.assign(batch, "sweet_rl", critic_logp=told.values, seed_logp=seed.values)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.token).all()
    assert told.bill.scored == batch.n_tokens + 4


# --- bad input ------------------------------------------------------------------------------------------------------


def never(*args: Any, **more: Any) -> Any:
    raise AssertionError("the model was run")


@pytest.fixture
def idle(monkeypatch: Any) -> Any:
    """A model that must not be run."""
    found = made("llama")
    packs(found)
    monkeypatch.setattr(found, "forward", never)
    return found


def ask(of: HFPolicy, batch: ap.Batch) -> Any:
    return of.logp(batch, np.random.default_rng(0))


@pytest.mark.parametrize("id_", [V, -1, 10**9])
def test_ids_that_the_model_does_not_know_are_refused(idle: Any, id_: int) -> None:
    ids = np.array(text(5, 9 * N))
    ids[13] = id_
    with pytest.raises(OptionError, match=rf"trajectory 1 \(1\), token 4: id {id_}"):
        ask(policy(idle), rollouts().with_columns(ids=ids))


def test_ids_in_a_text_that_is_put_in_are_checked_too(idle: Any) -> None:
    with pytest.raises(OptionError, match=f"trajectory 0 holds id {V + 5}"):
        policy(idle).told_logp(rollouts(), [[V + 5], None, None, None])
    with pytest.raises(OptionError, match=f"with its reference answer, trajectory 2 holds id {V}"):
        HFPolicy(idle, answers=[[2], [2], [V], [2]]).answer_logp(rollouts(), np.random.default_rng(0))


def test_words_hashed_to_ids_are_no_tokens_of_a_model(idle: Any) -> None:
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    with pytest.raises(OptionError, match="hashes of words"):
        ask(policy(idle), ap.Batch.from_messages([chat], outcome=[1.0]))


class Letters:
    """A letter is an id, moved by ``shift``."""

    def __init__(self, name: str, shift: int) -> None:
        self.name_or_path, self.shift = name, shift

    def __call__(self, said: str, **more: Any) -> dict[str, list[int]]:
        return {"input_ids": [2 + (ord(c) + self.shift) % 32 for c in said.lower()]}

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(96 + (i - 2 - self.shift) % 32) for i in ids)


def test_ids_of_another_tokenizer_are_refused_where_the_batch_can_tell(model: Any) -> None:
    chat = [{"role": "user", "content": "add up"}, {"role": "assistant", "content": "seven"}]
    batch = ap.Batch.from_messages([chat], outcome=[1.0], tokenizer=Letters("one", 0))
    with pytest.raises(OptionError, match="made by the tokenizer 'one'; by the given one \\('other'\\)"):
        ask(HFPolicy(model, Letters("other", 3)), batch)
    for fine in (Letters("one", 0), Letters("a copy of one", 0)):
        assert np.isfinite(ask(HFPolicy(model, fine), batch).values).all()


def test_texts_longer_than_the_model_has_positions_for_are_refused(idle: Any) -> None:
    idle.config.max_position_embeddings = 10
    with pytest.raises(OptionError, match=r"trajectory 0 has 13 tokens, LlamaForCausalLM has positions for 10"):
        policy(idle).logp(rollouts(), np.random.default_rng(0), hindsight=["3 4", None, None, None])
    with pytest.raises(OptionError, match=r"with its reference answer, trajectory 0 has 11 tokens"):
        policy(idle).answer_logp(rollouts(), np.random.default_rng(0))


def test_a_first_token_without_context_is_refused_unless_something_is_put_before_it(model: Any, idle: Any) -> None:
    bare = ap.Batch.from_turns([[3], [3]], outcome=[1.0, 0.0], ids=np.array(text(0, 6)), action=[False] + [True] * 5)
    with pytest.raises(OptionError, match=r"trajectory 1 \(1\), token 0: no token stands before it"):
        ask(policy(idle), bare)
    with pytest.raises(OptionError, match=r"trajectory 1 \(1\), token 0: no token stands before it"):
        HFPolicy(idle, answers=[[2], [2]]).answer_logp(bare, np.random.default_rng(0))
    told = HFPolicy(model, Words()).logp(bare, np.random.default_rng(0), hindsight=[None, "4"])
    np.testing.assert_allclose(told.values[3:], alone(model, [4, *text(0, 6)[3:]])[1:], atol=1e-4)


def test_broken_logits_are_named_by_trajectory_and_token() -> None:
    model = made("llama")
    batch = rollouts().with_columns(ids=np.array([*text(5, 9 * N)[:16], 1, *text(5, 9 * N)[17:]]))
    with torch.no_grad():
        model.get_input_embeddings().weight[1] = float("nan")  # an id that stands in one place only
    with pytest.raises(OptionError, match=r"trajectory 1 \(1\), token 8: the log-probability is nan"):
        ask(policy(model), batch)
    with pytest.raises(OptionError, match=r"trajectory 1 .*reference answer is nan"):
        policy(model).answer_logp(batch, np.random.default_rng(0))


def test_batches_without_ids_say_so(idle: Any) -> None:
    with pytest.raises(LookupError, match="ids"):
        ask(policy(idle), rollouts().with_columns(ids=None))
