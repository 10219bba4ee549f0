"""The neural tier is exact: enumeration against all trajectories, autograd against finite differences, batch against table."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from apportion.bench.gradient import update
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.neural.learned import Reading, rollout_texts
from apportion.bench.neural.model import MOST, Shape, initial
from apportion.bench.neural.task import NeuralTask, build, trained
from apportion.bench.neural.text import ACT
from apportion.bench.oracle import expected_return, oracle, truth
from apportion.bench.reasoning import reasoning
from apportion.bench.tabular import Float, binary_words, chain
from apportion.bench.tasks import find
from apportion.bench.world import roll

QUICK = Reading(rollouts=128, steps=15)


def small(window: int = 1, tokens: int = 2) -> NeuralTask:
    """Two states, three actions spelt with two tokens or more, two prompts, three turns; luck in every move."""
    rng = np.random.default_rng(3)
    kernel = rng.dirichlet(np.ones(2), size=(2, 3))
    base = chain("own/small", kernel, [[0.1, 0.8], [0.3, 0.9]], horizon=3, start=[0.6, 0.4], tokens=tokens)
    return build(base, window=window, reading=QUICK)


def some_theta(task: NeuralTask, seed: int = 1) -> Float:
    return initial(task.model, seed)[:, None]


def by_hand(task: NeuralTask, theta: Float, window: int) -> tuple[float, dict[Any, float]]:
    """J, and Q of every (prompt, past, action), by going through all trajectories; texts are made from the past."""
    base = task.base
    P, T, S = base.context.shape
    total, q = 0.0, {}

    def chances(p: int, past: tuple[tuple[int, int], ...], s: int) -> Float:
        t = len(past)
        padded = [(-1, -1)] * window + list(past)
        looks = np.array([[x for x, _ in padded[len(padded) - window :]]], dtype=np.int64).reshape(1, window)
        actions = np.array([[a for _, a in padded[len(padded) - window :]]], dtype=np.int64).reshape(1, window)
        text = task.vocabulary.context(np.array([p]), np.array([t]), np.array([s]), looks, actions, ACT)
        return np.asarray(task.reader.table(theta, text)[0])

    def value(p: int, past: tuple[tuple[int, int], ...], s: int) -> float:
        if len(past) == T:
            return float(base.success[p, s])
        kernel = base.kernels[base.kernel_of[p, len(past)]]
        found = 0.0
        for a, chance in enumerate(chances(p, past, s)):
            after = sum(kernel[s, a, n] * value(p, (*past, (s, a)), n) for n in range(S))
            q[p, past, s, a] = after
            found += chance * after
        return found

    for p, s in product(range(P), range(S)):
        total += base.start[p, s] * value(p, (), s) / P
    return total, q


@pytest.mark.parametrize("window", [0, 1, 2])
def test_exact_values_are_those_of_all_trajectories(window: int) -> None:
    task = small(window)
    theta = some_theta(task)
    J, q = by_hand(task, theta, window)
    assert expected_return(task, theta) == pytest.approx(J, abs=1e-12)
    r = roll(task, theta, 40, 4, np.random.default_rng(0))
    places = r.states % task.base.context.shape[2]
    with oracle():
        exact = truth(task, theta).Q
    for i, t in product(range(len(r.prompt)), range(task.horizon)):
        past = tuple((int(places[i, k]), int(r.actions[i, k])) for k in range(t))
        for a in range(task.actions):
            mine = exact[r.prompt[i], t, r.states[i, t], a]
            assert mine == pytest.approx(q[int(r.prompt[i]), past, int(places[i, t]), a], abs=1e-12)


def test_a_window_makes_the_policy_read_its_own_words() -> None:
    with_memory, without = small(1), small(0)
    assert len(with_memory.texts) > len(without.texts)
    theta = some_theta(with_memory)
    pi = with_memory.policy(theta)
    same_place = (with_memory.texts[:, [0, -3, -2]] == with_memory.texts[-1, [0, -3, -2]]).all(axis=1)
    assert same_place.sum() > 1
    assert np.ptp(pi[same_place], axis=0).max() > 1e-4


@pytest.mark.parametrize("home", ["tiny/turns", "tiny/steps", "team/two"])
def test_enumerated_texts_are_those_read_along_rollouts(home: str) -> None:
    base = find(home)
    if home == "team/two" and base.horizon * base.prompts * base.looks > 4096:
        pytest.skip("too many texts")
    task = build(base, reading=QUICK)
    theta = some_theta(task)
    r = roll(task, theta, 16, 4, np.random.default_rng(0))
    S = base.context.shape[2]
    texts = rollout_texts(base, task.window, task.vocabulary, r.prompt, r.states % S, r.actions)
    for t in range(task.horizon):
        np.testing.assert_array_equal(task.texts[task.context[r.prompt, t, r.states[:, t]]], texts[:, t])
    np.testing.assert_array_equal(task.ends[task.end[r.prompt, r.states[:, -1]]], texts[:, -1])


def test_the_exact_gradient_is_that_of_finite_differences() -> None:
    task = small()
    theta = some_theta(task)
    with oracle():
        solved = truth(task, theta)
        g, by_prompt = solved.gradient, solved.prompt_gradient
    assert g.shape == theta.shape
    np.testing.assert_allclose(by_prompt.mean(axis=0), g, atol=1e-13)
    rng = np.random.default_rng(0)
    for _ in range(4):
        way = rng.normal(size=theta.shape)
        slope = (expected_return(task, theta + 1e-5 * way) - expected_return(task, theta - 1e-5 * way)) / 2e-5
        assert float((g * way).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-10)
    at = np.argsort(-np.abs(g[:, 0]))[:5]  # single parameters, the ones that matter
    for i in at:
        step = np.zeros_like(theta)
        step[i] = 1e-5
        slope = (expected_return(task, theta + step) - expected_return(task, theta - step)) / 2e-5
        assert g[i, 0] == pytest.approx(slope, rel=1e-5)


def test_parts_are_pulled_back_as_the_whole_is() -> None:
    task = small()
    theta = some_theta(task)
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(3, len(task.texts), task.actions)) * (rng.random((3, len(task.texts), 1)) < 0.3)
    parts[:, :, 0] = 0.0  # credit of a later word moves only the actions that share the first
    whole = np.stack([task.pull_back(theta, part) for part in parts])
    np.testing.assert_allclose(task.pull_back(theta, parts), whole, atol=1e-12)
    assert task.pull_back(theta, parts).shape == (3, task.model.parameters, 1)
    np.testing.assert_array_equal(task.pull_back(theta, np.zeros_like(parts)), 0.0)


def test_an_update_is_the_gradient_of_weighted_log_probabilities() -> None:
    """sum_tokens w log pi(token), differentiated numerically through the batch's own log-probabilities."""
    from apportion import Credit

    task = small()
    theta = some_theta(task)
    r = roll(task, theta, 3, 4, np.random.default_rng(0))
    batch = to_batch(r)
    weight = np.random.default_rng(1).normal(size=batch.n_tokens) * batch.action
    credit = Credit.of(batch, "token", weight, method="test")
    g = update(r, credit)

    def objective(at: Float) -> float:
        prompt, time, state, action = situation(r, batch)
        table = task.token_probabilities(task.policy(at))[0][task.context[prompt, time, state], action]
        first = choices(task, batch).first
        logp = np.zeros(batch.n_tokens)
        logp[(first[:, None] + np.arange(table.shape[1])).ravel()] = table.ravel()
        return float((weight * logp).sum()) / batch.n_trajectories

    way = np.random.default_rng(2).normal(size=theta.shape)
    slope = (objective(theta + 1e-5 * way) - objective(theta - 1e-5 * way)) / 2e-5
    assert float((g * way).sum()) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("home", ["tiny/turns", "tiny/steps"])
def test_log_probabilities_of_a_batch_are_the_models_own(home: str) -> None:
    """A token's log-probability, worked out from raw logits restricted to legal tokens, is what the batch holds."""
    import torch

    from apportion.bench.neural.model import logits

    task = build(find(home), reading=QUICK)
    theta = some_theta(task)
    r = roll(task, theta, 4, 4, np.random.default_rng(0))
    batch = to_batch(r)
    logp, entropy = batch.need("logp"), batch.need("entropy")
    prompt, time, state, action = situation(r, batch)
    first, spelt = choices(task, batch).first, task.vocabulary.spelt
    flat = torch.from_numpy(theta.ravel())
    for i in range(0, action.size, 17):
        text = task.texts[task.context[prompt[i], time[i], state[i]]]
        for j in range(spelt.shape[1]):
            begun = spelt[action[i], :j]
            out = logits(task.model, flat, torch.from_numpy(np.concatenate([text, begun])[None]), 1)[0, 0]
            legal = sorted({int(w[j]) for w in spelt if (w[:j] == begun).all()})
            said = out[legal].log_softmax(0).numpy()
            assert logp[first[i] + j] == pytest.approx(said[legal.index(int(spelt[action[i], j]))], abs=1e-9)
            assert entropy[first[i] + j] == pytest.approx(-(np.exp(said) * said).sum(), abs=1e-9)


def test_only_legal_actions_have_a_chance() -> None:
    task = small(tokens=3)  # three actions in two bits: the fourth spelling is not legal
    assert task.actions == 3
    np.testing.assert_array_equal(task.words[:, :2], binary_words(3, 2)[:, :2])
    raw = np.exp(task.table(some_theta(task))._log.detach().numpy())
    np.testing.assert_allclose(raw.sum(axis=1), 1.0, atol=1e-12)  # all the mass is on the three, before any normalising
    assert (raw > 0).all()
    closing = to_batch(roll(task, some_theta(task), 2, 2, np.random.default_rng(0))).need("logp").reshape(-1, 6)[:, -1]
    np.testing.assert_array_equal(closing, 0.0)  # the filler that closes an action is the only legal token


def test_no_policy_has_more_parameters_than_promised() -> None:
    for home in ("tiny/turns", "tiny/steps"):
        task = build(find(home))
        assert task.model.parameters == initial(task.model, 0).size <= MOST == 200_000
    assert Shape(vocabulary=100, length=50, width=24, layers=2).parameters < MOST


def test_a_later_place_never_changes_an_earlier_logit() -> None:
    import torch

    from apportion.bench.neural.model import logits

    shape = Shape(12, 6)
    flat = torch.from_numpy(initial(shape, 0))
    one = torch.tensor([[1, 2, 3, 4, 5, 6]])
    other = torch.tensor([[1, 2, 3, 4, 9, 9]])
    a, b = (logits(shape, flat, x, 6)[0] for x in (one, other))
    assert torch.equal(a[:4], b[:4])
    assert not torch.allclose(a[4], b[4])
    assert torch.allclose(logits(shape, flat, one, 2)[0], a[4:], atol=1e-12)


def test_a_checkpoint_wins_its_share_and_keeps_the_first_one_as_reference() -> None:
    task = build(reasoning("own/steps", horizon=3, forks=1, wordings=1, prompts=2, title="short"), reading=QUICK)
    half, none, all_ = (trained(task, percent) for percent in (50, 0, 100))
    first = expected_return(task, task.first_theta)
    assert task.attainable > first + 0.05
    goal = first + 0.5 * (task.attainable - first)
    got = expected_return(half, half.start_theta)
    assert goal <= got < goal + 0.1 * (task.attainable - first)
    assert expected_return(all_, all_.start_theta) == pytest.approx(task.attainable, abs=1e-12)
    np.testing.assert_array_equal(half.reference_policy, task.policy(task.first_theta))
    np.testing.assert_array_equal(none.start_theta, task.first_theta)
    rows = to_batch(roll(half, half.start_theta, 4, 4, np.random.default_rng(0)), reference=True)
    assert np.abs(rows.need("logp") - rows.need("ref_logp")).max() > 0.05
