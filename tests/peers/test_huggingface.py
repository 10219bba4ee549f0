"""Evidence from a causal language model (a tiny random one): the same numbers as the plain way, from one reading."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence import Answerer, Policy, Sampler
from apportion.evidence.cuts import prefix_tokens
from apportion.evidence.huggingface import HFPolicy, HFSampler, Prefix
from apportion.evidence.huggingface.scoring import token_logp
from apportion.evidence.huggingface.shared import attend

VOCABULARY = 37


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=1, initializer_range=0.5,
    )  # fmt: skip
    made = transformers.LlamaForCausalLM(config).eval()
    made.generation_config.eos_token_id = 1
    return made


def plain_logp(model: Any, text: list[int]) -> np.ndarray[Any, Any]:
    """One token after the other, each from a text of its own."""
    said = [0.0]
    for i in range(1, len(text)):
        with torch.no_grad():
            logits = model(torch.tensor([text[:i]])).logits[0, -1].double()
        said.append(float(torch.log_softmax(logits, -1)[text[i]]))
    return np.array(said)


def text(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(2, VOCABULARY, size=n).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("max_tokens", [1, 30, 10_000])
def test_batches_of_texts_score_as_each_alone(model: Any, max_tokens: int) -> None:
    texts = [text(i, n) for i, n in enumerate((7, 1, 12, 3, 12))]
    logp, entropy = token_logp(model, texts, max_tokens=max_tokens)
    for one, found, spread in zip(texts, logp, entropy, strict=True):
        np.testing.assert_allclose(found, plain_logp(model, one), atol=1e-4)
        assert ((spread >= 0) & (spread <= np.log(VOCABULARY) + 1e-6)).all()
    with torch.no_grad():
        chance = torch.softmax(model(torch.tensor([texts[0][:3]])).logits[0, -1].double(), -1)
    assert entropy[0][3] == pytest.approx(float(-(chance * chance.log()).sum()), abs=1e-4)


def test_texts_after_many_cuts_score_as_if_each_prefix_were_read(model: Any) -> None:
    base, cuts = text(1, 20), [1, 5, 20, 13, 5]
    more = [text(10 + i, n) for i, n in enumerate((4, 1, 6, 0, 3))]
    for rows in (2, 128):
        found = Prefix(model, base, rows=rows).score(cuts, more)
        for cut, new, said in zip(cuts, more, found, strict=True):
            np.testing.assert_allclose(said, plain_logp(model, base[:cut] + new)[cut:], atol=1e-4)


@pytest.fixture(scope="module")
def stubborn() -> Any:
    """A model whose attention cannot be exchanged: the text is copied for every row."""
    torch.manual_seed(0)
    config = transformers.GPTJConfig(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=256, eos_token_id=1, bos_token_id=0,
        initializer_range=0.5,
    )  # fmt: skip
    return transformers.GPTJForCausalLM(config).eval()


def test_the_text_stands_in_memory_once_where_attention_can_be_exchanged(model: Any, stubborn: Any) -> None:
    one, other = (Prefix(m, text(1, 20)) for m in (model, stubborn))
    assert (one.once, other.once) == (True, False)
    assert (one._fresh(64).get_seq_length(), other._fresh(64).get_seq_length()) == (0, 20)


def test_scores_with_a_copy_for_every_row_are_the_same(stubborn: Any) -> None:
    base, cuts = text(1, 20), [1, 20, 13]
    for cut, said in zip(cuts, Prefix(stubborn, base).score(cuts, [[5, 6]] * 3), strict=True):
        np.testing.assert_allclose(said, plain_logp(stubborn, [*base[:cut], 5, 6])[cut:], atol=1e-4)


def test_the_models_own_attention_is_back_afterwards(model: Any) -> None:
    before = model.config._attn_implementation
    shared = Prefix(model, text(1, 20))
    shared.score([3], [[5]])
    assert model.config._attn_implementation == before
    with pytest.raises(IndexError):
        shared.score([3], [[VOCABULARY]])
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("odd", ["softcap", "s_aux", "sliding_window", "position_bias"])
def test_attention_that_is_not_plain_is_refused(odd: str) -> None:
    with pytest.raises(OptionError, match=odd):
        attend(torch.nn.Linear(1, 1), None, None, None, None, **{odd: 4})


@pytest.mark.parametrize("which", ["model", "stubborn"])
def test_greedy_continuations_are_those_of_the_plain_way(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    base, cuts = text(2, 24), [3, 24, 11, 11, 1]
    for rows in (2, 128):
        found, ended = Prefix(model, base, rows=rows).generate(
            cuts, max_new_tokens=12, stop=[1], rng=np.random.default_rng(0), temperature=0
        )  # fmt: skip
        for cut, new, end in zip(cuts, found, ended, strict=True):
            own = base[:cut]
            for _ in range(12):
                with torch.no_grad():
                    own.append(int(model(torch.tensor([own])).logits[0, -1].argmax()))
                if own[-1] == 1:
                    break
            assert new == own[cut:]
            assert end == (own[-1] == 1)


def test_draws_follow_the_models_chances_after_each_cut(model: Any) -> None:
    base, cuts = text(3, 10), [2, 9]
    many, _ = Prefix(model, base, rows=4096).generate(
        np.repeat(cuts, 2000).tolist(), max_new_tokens=2, stop=[], rng=np.random.default_rng(0)
    )  # fmt: skip
    for i, cut in enumerate(cuts):
        mine = many[2000 * i : 2000 * (i + 1)]
        with torch.no_grad():
            first = torch.softmax(model(torch.tensor([base[:cut]])).logits[0, -1], -1).numpy()
        seen = np.bincount([new[0] for new in mine], minlength=VOCABULARY) / 2000
        assert np.abs(seen - first).sum() < 0.12
        likeliest = int(first.argmax())
        with torch.no_grad():
            second = torch.softmax(model(torch.tensor([[*base[:cut], likeliest]])).logits[0, -1], -1).numpy()
        after = [new[1] for new in mine if new[0] == likeliest]
        assert np.abs(np.bincount(after, minlength=VOCABULARY) / len(after) - second).sum() < 0.4


def test_continuations_end_at_the_stop_token_and_the_others_go_on(model: Any) -> None:
    stop = list(range(2, 12))
    found, ended = Prefix(model, text(4, 6)).generate([6] * 64, max_new_tokens=9, stop=stop, rng=np.random.default_rng(1))
    assert any(ended)
    for new, end in zip(found, ended, strict=True):
        assert not set(new[:-1]) & set(stop)
        assert end == (new[-1] in stop)
        assert end or len(new) == 9


def test_top_p_leaves_out_the_unlikely(model: Any) -> None:
    base = text(5, 8)
    with torch.no_grad():
        order = model(torch.tensor([base])).logits[0, -1].argsort(descending=True)
    found, _ = Prefix(model, base).generate([8] * 200, max_new_tokens=1, stop=[], rng=np.random.default_rng(0), top_p=1e-3)
    assert {new[0] for new in found} == {int(order[0])}


def test_a_model_that_is_in_training_is_asked_without_dropout_and_left_in_training(model: Any, stubborn: Any) -> None:
    """GPT-2 has dropout; gradient checkpointing, while a model trains, goes along with no cache."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=64, eos_token_id=1, bos_token_id=0,
        initializer_range=0.5, attn_pdrop=0.5, embd_pdrop=0.5, resid_pdrop=0.5,
    )  # fmt: skip
    gpt2 = transformers.GPT2LMHeadModel(config).eval()
    for one in (gpt2, copy.deepcopy(stubborn), copy.deepcopy(model)):

        def asked(one: Any = one) -> tuple[Any, Any]:
            read = Prefix(one, text(2, 24))
            cuts = [3, 24, 11]
            made = read.generate(cuts, max_new_tokens=8, stop=[], rng=np.random.default_rng(0), temperature=0)
            return made, np.concatenate(read.score(cuts, [[5, 6]] * 3)).tolist()

        before = asked()
        one.train()
        one.gradient_checkpointing_enable()
        one.get_input_embeddings().eval()
        assert asked() == before
        assert one.training
        assert not one.get_input_embeddings().training


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_is_drawn_from_broken_logits_but_words_of_no_chance_are_left_out(
    stubborn: Any, temperature: float, value: float
) -> None:
    def draw(broken: Any) -> set[int]:
        read = Prefix(broken, text(2, 9))
        how: dict[str, Any] = {"max_new_tokens": 2, "stop": [], "rng": np.random.default_rng(0), "temperature": temperature}
        return {t for new in read.generate([7] * 300, **how)[0] for t in new}

    masked = copy.deepcopy(stubborn)
    word = next(iter(draw(masked)))
    with torch.no_grad():
        masked.lm_head.bias[word] = -np.inf
    assert word not in draw(masked)
    with torch.no_grad():
        masked.lm_head.bias[word] = value
    with pytest.raises(OptionError, match="after the first 7 tokens and 0 new ones nothing can be drawn"):
        draw(masked)


def test_broken_logits_are_found_where_they_begin_and_named_by_trajectory(stubborn: Any) -> None:
    class Breaks:
        """As the model until it has read a text and been asked twice more."""

        calls = 0

        def __call__(self, module: Any, given: Any, out: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                out.logits = out.logits.clone()
                out.logits[1] = torch.nan
            return out

    model = copy.deepcopy(stubborn)
    model.register_forward_hook(Breaks())
    batch = answers().with_columns(trajectory=["x", "y"])
    sampler = HFSampler(model, lambda i, w, e: 0.0, max_new_tokens=6, stop=[])
    with pytest.raises(OptionError, match=r"trajectory 0 \('x'\), after the first 5 tokens and 2 new ones nothing can be drawn"):
        sampler.continuations(batch, np.array([0, 1, 4]), 1, np.random.default_rng(0), axis="step_prefix")


# --- batches -----------------------------------------------------------------------------------------------------


def answers() -> ap.Batch:
    """Two answers of three steps each: a prompt of 3 tokens (observation), then 6 of the policy's."""
    action = np.tile([False] * 3 + [True] * 6, 2)
    return ap.Batch.from_turns(
        [[9], [9]], outcome=[1.0, 0.0], group=[0, 0], action=action, ids=np.array(text(6, 18)), steps=[[5, 2, 2], [5, 2, 2]]
    )  # fmt: skip


def dialogue() -> ap.Batch:
    action = np.array([False, False, True, True, False, True, True])
    return ap.Batch.from_turns([[4, 3]], outcome=[1.0], action=action, ids=np.array(text(7, 7)))


def test_prefixes_stand_where_the_policy_begins_to_write() -> None:
    assert prefix_tokens(answers(), "prefix").tolist() == [3, 9, 12, 18]
    assert prefix_tokens(answers(), "step_prefix").tolist() == [3, 5, 7, 9, 12, 14, 16, 18]
    assert prefix_tokens(dialogue(), "prefix").tolist() == [2, 5, 7]


def test_log_probabilities_with_and_without_hindsight(model: Any) -> None:
    batch = dialogue()
    policy = HFPolicy(model, answers=[[5]])
    assert isinstance(policy, Policy)
    assert isinstance(policy, Answerer)
    ids = batch.need("ids").tolist()
    found = policy.logp(batch, np.random.default_rng(0)).values
    np.testing.assert_allclose(found, np.where(batch.action, plain_logp(model, ids), 0.0), atol=1e-4)

    class Words:
        def __call__(self, said: str, add_special_tokens: bool) -> dict[str, list[int]]:
            assert not add_special_tokens
            return {"input_ids": [int(w) for w in said.split()]}

    told = HFPolicy(model, Words()).logp(batch, np.random.default_rng(0), hindsight=["8 9"]).values
    whole = [*ids[:2], 8, 9, *ids[2:5], 8, 9, *ids[5:]]
    alone = plain_logp(model, whole)
    np.testing.assert_allclose(told, [0, 0, alone[4], alone[5], 0, alone[9], alone[10]], atol=1e-4)
    with pytest.raises(OptionError, match="tokenizer"):
        HFPolicy(model).logp(batch, np.random.default_rng(0), hindsight=["8 9"])


def test_the_answer_is_forced_after_every_prefix(model: Any) -> None:
    batch = answers()
    answer = [[5, 6], [7]]
    found = HFPolicy(model, answers=answer).answer_logp(batch, np.random.default_rng(0), axis="step_prefix").values
    ids = batch.need("ids").tolist()
    expected = [plain_logp(model, ids[9 * i : 9 * i + c] + answer[i])[c:].mean() for i in (0, 1) for c in (3, 5, 7, 9)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(OptionError, match="expected 2"):
        HFPolicy(model, answers=["x"]).answer_logp(batch, np.random.default_rng(0))


def test_vineppo_asks_it_for_values(model: Any) -> None:
    seen: list[int] = []

    def reward(i: int, whole: Any, ended: bool) -> float:
        seen.append(len(whole))
        return float(sum(whole) % 2)

    sampler = HFSampler(model, reward, max_new_tokens=4, stop=[1])
    assert isinstance(sampler, Sampler)
    credit = ap.assign(answers(), "vineppo", sampler=sampler, k=3, rng=0)
    assert isinstance(credit, ap.Credit)
    assert credit.bill.generated <= 4 * len(seen)
    assert len(seen) == 2 * 3 * 3  # the state after the last step is worth 0 without asking
    again = ap.assign(answers(), "vineppo", sampler=sampler, k=3, rng=0)
    assert isinstance(again, ap.Credit)
    np.testing.assert_array_equal(credit.unit, again.unit)


def test_prefixes_that_need_an_environment_are_refused_before_any_work(model: Any) -> None:
    def reward(i: int, whole: Any, ended: bool) -> float:
        raise AssertionError("asked")

    sampler = HFSampler(model, reward, max_new_tokens=4, stop=[1])
    with pytest.raises(OptionError, match="environment would run, which HFSampler cannot"):
        sampler.continuations(dialogue(), np.array([0]), 1, np.random.default_rng(0))
    assert sampler.continuations(dialogue(), np.array([], dtype=np.int64), 1, np.random.default_rng(0)).values.shape == (0, 1)
    bare = ap.Batch.from_turns([[2, 2]], outcome=[1.0], ids=np.array(text(8, 4)))
    with pytest.raises(OptionError, match="no token stands before"):
        sampler.continuations(bare, np.array([0]), 1, np.random.default_rng(0))


def test_what_cannot_be_gone_on_with_is_refused_before_the_model_is_asked(model: Any) -> None:
    def reward(i: int, whole: Any, ended: bool) -> float:
        raise AssertionError("asked")

    def ask(batch: ap.Batch, prefixes: list[int], n: int = 4) -> Any:
        return HFSampler(model, reward, n, stop=[1]).continuations(batch, np.array(prefixes), 1, np.random.default_rng(0))

    foreign = np.array(text(6, 18))
    foreign[13] = 1000
    with pytest.raises(
        OptionError, match=rf"trajectory 1 \(1\), token 4: id 1000, but LlamaForCausalLM knows 0 to {VOCABULARY - 1}"
    ):
        ask(answers().with_columns(ids=foreign), [0])
    chats = [[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]] * 2
    with pytest.raises(OptionError, match="hashes of words"):
        ask(ap.Batch.from_messages(chats, outcome=[1.0, 0.0]), [0])
    with pytest.raises(OptionError, match=r"prefixes\[1\] = 3: trajectory 1 is finished there: leave the last prefix out"):
        ask(answers(), [2, 3])
    over = r"prefixes\[0\] = 0: 3 tokens stand before it, and with max_new_tokens = 254 .* positions for 256, .* at most 253 fit"
    with pytest.raises(OptionError, match=over):
        ask(answers(), [0], 254)


def test_an_answer_that_was_cut_off_goes_on_from_its_end_and_positions_are_used_to_the_last(model: Any) -> None:
    batch, seen = answers().with_columns(truncated=[False, True]), []

    def reward(i: int, whole: Any, ended: bool) -> float:
        seen.append((i, len(whole)))
        return 0.0

    HFSampler(model, reward, 247, stop=[]).continuations(batch, np.array([3]), 1, np.random.default_rng(0))
    assert seen == [(1, 256)]
    with pytest.raises(OptionError, match="trajectory 0 is finished"):
        HFSampler(model, reward, 4, stop=[]).continuations(batch, np.array([3, 1]), 1, np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}])
def test_sampling_that_makes_no_sense_is_refused_by_name(model: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        HFSampler(model, lambda i, w, e: 0.0, **{"max_new_tokens": 4, **wrong})


def test_windows_and_cuts_that_share_no_cache_are_refused(model: Any) -> None:
    with pytest.raises(OptionError, match=r"cuts\[1\] = 0"):
        Prefix(model, text(9, 4)).score([1, 0], [[2], [2]])
    config = transformers.MistralConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    with pytest.raises(OptionError, match="sliding window"):
        Prefix(transformers.MistralForCausalLM(config), text(9, 8))


def test_models_with_a_recurrent_state_are_refused_also_where_they_attend_beside_it(model: Any) -> None:
    size = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1}
    alone = transformers.MambaForCausalLM(transformers.MambaConfig(**size, state_size=4))
    beside = transformers.FalconH1ForCausalLM(
        transformers.FalconH1Config(
            **size, intermediate_size=16, num_attention_heads=2, num_key_value_heads=1, mamba_d_ssm=32, mamba_n_heads=4,
            mamba_d_head=8, mamba_d_state=4,
        )
    )  # fmt: skip
    for recurrent in (alone, beside):
        with pytest.raises(OptionError, match="keeps a recurrent state"):
            Prefix(recurrent, text(9, 8))
