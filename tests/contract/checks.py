"""What every method promises, one small function a promise; in the spirit of scikit-learn's estimator checks.

A check takes a method and a seed and raises ``AssertionError`` where the promise is broken. Exceptions
stand beside the check they are exempt from, each with its reason, and must be real: the suite fails
when an excepted method keeps the promise after all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import apportion as ap
from apportion import Batch, Credit, Preferences
from apportion.errors import ApportionError, MissingColumn, OptionError
from apportion.evidence import Evidence, Learned
from apportion.registry import Method, keywords

from ..fakes import FakeAuthor, FakeJudge, FakePolicy, FakeSampler
from .factory import SHAPES, Case, case, index, renamed, reorder, rollouts, row_per_turn

Check = Callable[[Method, int], None]
CHECKS: list[Check] = []
#: check name -> {method id: why it does not promise this}
EXCEPT: dict[str, Mapping[str, str]] = {}

REWARDS = ("outcome", "turn_reward", "token_reward")
STRUCTURE = {"reward", "group", "episode", "steps", "limit", "spans"}


def check(**exceptions: str) -> Callable[[Check], Check]:
    def add(function: Check) -> Check:
        CHECKS.append(function)
        EXCEPT[function.__name__] = exceptions
        return function

    return add


def run(method: Method, given: Case, **options: Any) -> Credit:
    result = method(given.batch, **given.evidence, **options)
    assert isinstance(result, Credit)
    return result if result.rows is None else seen_from(given.batch, result)


def seen_from(batch: Batch, credit: Credit) -> Credit:
    """Credit of some rows of ``batch`` as credit of all of it: 0, and out of the loss, where a row was not taken.

    A row that was taken more than once is seen once: its copies must agree.
    """
    rows, level = credit.rows, credit.level
    assert rows is not None
    starts = batch.offsets("row")
    token = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in rows])
    assert credit.batch.same(batch.take(rows))
    unit = batch.within("token", level)[token[credit.batch.offsets(level)[:-1]]]

    def spread(values: NDArray[Any], at: NDArray[np.int64], n: int) -> NDArray[Any]:
        out = np.zeros(n, dtype=values.dtype)
        out[at] = values
        assert np.array_equal(out[at], values), "copies of a row differ, and cannot be seen as one"
        return out

    return replace(
        credit, batch=batch, rows=None,
        unit=spread(credit.unit, unit, batch.count(level)), token=spread(credit.token, token, batch.n_tokens),
        keep=spread(credit.kept, token, batch.n_tokens),
        scored=None if credit.scored is None else spread(credit.scored, unit, batch.count(level)),
        parts={n: spread(p, unit, batch.count(level)) for n, p in credit.parts.items()}, targets={},
    )  # fmt: skip


def assert_identical(a: Credit, b: Credit) -> None:
    """Bit by bit, every number of the result."""
    assert a.level == b.level
    assert a.kind == b.kind
    for name in ("unit", "token", "keep", "scored"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or np.array_equal(x, y), name
    for x, y in ((a.parts, b.parts), (a.targets, b.targets)):
        assert x.keys() == y.keys()
        assert all(np.array_equal(x[n], y[n]) for n in x)


def assert_follows(before: Case, after: Case, method: Method, order: NDArray[np.int64]) -> None:
    """The credit of rearranged rollouts is the rearranged credit (up to the rounding of a sum's order)."""
    a, b = run(method, before), run(method, after)
    unit, token = index(before.batch, a.level, order), index(before.batch, "token", order)
    np.testing.assert_allclose(b.unit, a.unit[unit], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(b.token, a.token[token], rtol=1e-9, atol=1e-9)
    assert b.kept.sum() == a.kept.sum()  # which copy of a shared turn is kept may depend on the order


# --- what it may see -------------------------------------------------------------------------------


def without(given: Case, name: str) -> Case:
    if name == "reward":
        return given.with_columns(**dict.fromkeys(REWARDS))
    if name == "steps":
        return given.with_columns(step_offsets=None, process=None)
    if name == "spans":
        return given.with_columns(spans={})
    if name in ("node", "parent"):  # two halves of one column
        return given.with_columns(node=None, parent=None)
    return given.with_columns(**{name: None})


def undeclared(method: Method) -> list[str]:
    declared = method.reads | method.may_read
    columns = {*Batch.columns(), "group", "limit", "steps"} - declared
    return sorted(columns - set(method.evidence) - (set(REWARDS) if "reward" in declared else set()))


@check()
def undeclared_columns_change_nothing(method: Method, seed: int) -> None:
    given = case(method, seed)
    expected = run(method, given)
    for name in undeclared(method):
        assert_identical(run(method, without(given, name)), expected)


@check()
def declarations_name_columns(method: Method, seed: int) -> None:
    assert method.reads | method.may_read <= set(Batch.columns()) | STRUCTURE
    assert not method.reads & method.may_read
    by_step = {name for name, axis in method.evidence.items() if axis in ("step", "step_prefix")}
    assert not by_step or "steps" in method.reads | method.may_read, f"{by_step} keyed by steps it may not see"


@check()
def a_missing_column_says_how_to_give_it(method: Method, seed: int) -> None:
    given = case(method, seed)
    for name in method.reads:
        # node and parent go together: whichever is looked for first is named
        asked = "(node|parent)" if name in ("node", "parent") else name
        given_as = "outcome" if name == "reward" else asked
        with pytest.raises(MissingColumn, match=rf"'{asked}'[\s\S]*{given_as}="):
            run(method, without(given, name))


@check(int="without steps its index of a step counts turns, of which there are fewer")
def columns_it_may_read_can_be_left_out(method: Method, seed: int) -> None:
    given = case(method, seed)
    for name in method.may_read:
        # evidence keyed by steps does not fit a batch without them
        if name != "steps" or not set(method.evidence.values()) & {"step", "step_prefix"}:
            run(method, without(given, name))


@check()
def missing_evidence_says_how_to_get_it(method: Method, seed: int) -> None:
    given = case(method, seed)
    for name in method.wanted():  # what its defaults excuse it from is not missing
        batch = given.batch.with_columns(**{name: None}) if name in Batch.columns() else given.batch
        rest = {n: v for n, v in given.evidence.items() if n != name}
        with pytest.raises(MissingColumn, match=rf"'{name}'[\s\S]*{name}="):
            method(batch, **rest)


@check()
def what_stands_at_observation_tokens_changes_nothing(method: Method, seed: int) -> None:
    given = case(method, seed)
    expected = run(method, given)
    observed = ~given.batch.action
    noise = np.random.default_rng(seed).random(observed.size)
    columns = {
        name: np.where(observed, noise if name in ("value", "entropy") else -noise, getattr(given.batch, name))
        for name, meta in Batch.columns().items()
        if meta["axis"] == "token" and meta["kind"] == "float" and name != "token_reward"
    }
    evidence = {
        name: np.where(observed, -noise, values) if method.evidence[name] == "token" else values
        for name, values in given.evidence.items()
    }
    assert_identical(run(method, Case(given.batch.with_columns(**columns), evidence)), expected)


# --- what it gives back ----------------------------------------------------------------------------


@check()
def credits_the_batch_it_was_given(method: Method, seed: int) -> None:
    given = case(method, seed)
    credit = run(method, given)
    assert credit.batch is given.batch
    assert credit.level == method.unit
    assert credit.method == method.id
    assert set(credit.options) == set(method.options) - {"rng"}  # a generator changes as it is used


@check()
def observation_tokens_get_zero(method: Method, seed: int) -> None:
    given = case(method, seed)
    credit = run(method, given)
    assert not credit.token[~given.batch.action].any()
    assert credit.token.any()


@check()
def finite_on_hard_batches(method: Method, seed: int) -> None:
    """Large, equal and null values, shapes down to one token: finite credit or an error on purpose."""
    given = case(method, seed, lonely=seed % 2 == 0)
    n = given.batch.n_trajectories
    base = given.with_columns(outcome=None, turn_reward=None, token_reward=None)
    for outcome in (np.full(n, 0.1), np.arange(n) * 1e9, np.linspace(0, 1e-12, n)):
        try:
            credit = run(method, base.with_columns(outcome=outcome))
        except ApportionError:
            continue
        assert np.isfinite(credit.unit).all()
        assert np.isfinite(credit.token).all()


@check()
def deterministic(method: Method, seed: int) -> None:
    given, other = case(method, seed), case(method, seed + 1000)
    first = run(method, given)
    run(method, other)
    assert_identical(run(method, given), first)


@check()
def leaves_its_input_alone(method: Method, seed: int) -> None:
    given, twin = case(method, seed), case(method, seed)
    before = rollouts(np.random.default_rng(seed), SHAPES)
    run(method, given)
    assert given.batch.same(before)
    for name, values in given.evidence.items():
        assert np.array_equal(values, twin.evidence[name], equal_nan=True)
        assert values.flags.writeable, f"{name} belongs to the caller and was frozen"


@check(
    gae="a critic's values are credit by themselves", vineppo="so are values of continuations",
    pure="so are process scores", hcapo="the hindsight ratio tells turns apart where all rollouts succeed",
    capo="a judge's penalties tell steps apart", criticsearch="a judge's labels tell turns apart",
    mappa="a coach's scores are the whole reward", llm_mca="a critic's credits are it here",
    m_grpo="a judge's scores tell sub-agents apart",
    tarl="a judge's scores tell rollouts apart", scribe="it rewards judged subgoals, not outcomes",
    spro="the log-ratio to the reference is credit by itself", prl="so is the log-ratio still to come",
    from_r_to_q="it never reads rewards: a policy's log-ratio is its credit", prime="implicit process rewards remain",
    itpo="learned weights split the outcome unequally over turns",
    math_shepherd="success rates of prefixes tell steps apart", omegaprm="so they do here",
    spo="so do values of continuations", igpo="gains of belief in the answer are rewards of their own",
    red="so are the rises of a reward model's score", scar="so are shares of a game on partial texts",
    rudder="so are changes of a predicted return", hca="hindsight tells actions apart where all ended alike",
    turn_ppo="a critic's values are credit by themselves", poad="so are they here", sorl="and here",
    c3="alternatives drawn anew may have earned something else", ccpo="so may rollouts without an agent",
    sharp="so may they here", prs="it reads points of stages, not rewards",
    agentprm="a model's promises tell steps apart", spa_rl="so do an estimator's contributions",
    stepagent="it never reads rewards: a discriminator's are its own", pilotrl="a judge's scores tell rollouts apart",
    archer="critics' values are credit by themselves", istar="implicit rewards of steps remain",
    sweet_rl="a critic's log-ratio to its seed is credit by itself",
    hiper="so are a critic's three values",
    remax="the greedy rollout may have earned something else", turn_level_reward="rewards of turns are left",
    a2tgpo="gains of belief are rewards of their own", deltabelief="so they are here, beside the length of the game",
    int="it clones what was edited, and reads no rewards", qllm="agents' values are credit by themselves",
    lare="decoded rewards tell steps apart",
)  # fmt: skip
def equal_rewards_teach_nothing(method: Method, seed: int) -> None:
    """Rollouts that all end alike say nothing about what to do (undiscounted, none cut off)."""
    given = case(method, seed)
    n = given.batch.n_trajectories
    plain = given.with_columns(**dict.fromkeys((*REWARDS, "truncated", "bootstrap")))
    options = {"gamma": 1.0} if "gamma" in method.options else {}
    credit = run(method, plain.with_columns(outcome=np.full(n, 0.3)), **options)
    assert np.abs(credit.token).max() < 1e-12


# --- what must not matter ----------------------------------------------------------------------------


@check(pooled_td="folds are dealt out by rank within the prompt, and shared across prompts")
def order_of_trajectories_does_not_matter(method: Method, seed: int) -> None:
    given = case(method, seed)
    order = np.random.default_rng(seed).permutation(given.batch.n_trajectories)
    assert_follows(given, reorder(given, method, order), method, order)


@check()
def order_of_groups_does_not_matter(method: Method, seed: int) -> None:
    given = case(method, seed)
    groups = given.batch.within("trajectory", "group")
    order = np.argsort(-groups, kind="stable")  # the same order inside each
    assert_follows(given, reorder(given, method, order), method, order)


@check()
def layout_of_rows_does_not_matter(method: Method, seed: int) -> None:
    given = case(method, seed)
    assert_identical(run(method, row_per_turn(given)), run(method, given))


@check(m_grpo="the main agent is told by its name", proxmo="keys of states are read as texts")
def names_do_not_matter(method: Method, seed: int) -> None:
    given = case(method, seed)
    assert_follows(given, renamed(given), method, np.arange(given.batch.n_trajectories))


def pieces(batch: Batch, scope: str) -> list[NDArray[np.int64]]:
    """Trajectories that a method of this scope may credit by themselves."""
    if scope == "trajectory":
        return list(np.arange(batch.n_trajectories)[:, None])
    over = batch.within("trajectory", "group")
    return [np.flatnonzero(over == g) for g in np.unique(over)]


def widening(method: Method) -> list[dict[str, Any]]:
    """Every option value with which the scope is the batch."""
    return [{n: v} for n, value in method.widens.items() for v in (value if isinstance(value, tuple) else (value,))]


@check()
def its_scope_is_what_it_must_see_whole(method: Method, seed: int) -> None:
    """Credit piece by piece is the credit of the whole; what learns from the batch, or looks across groups, is not so cut."""
    given = case(method, seed)
    options = {name: not value for name, value in method.widens.items() if isinstance(value, bool)}
    scope = method.scope_for(options)
    assert scope == method.scope
    whole = run(method, given, **options)
    same = True
    for part in pieces(given.batch, scope):
        try:
            alone = run(method, reorder(given, method, part), **options)
        except ApportionError:  # fewer groups or folds than it needs: only "batch" may do that
            same = False
            continue
        unit, token = index(given.batch, whole.level, part), index(given.batch, "token", part)
        same &= np.allclose(alone.unit, whole.unit[unit], rtol=1e-9, atol=1e-9)
        same &= np.allclose(alone.token, whole.token[token], rtol=1e-9, atol=1e-9)
    assert same or scope == "batch", f"{method.id} is declared to need a {scope} only"
    for wide in widening(method):
        assert method.scope_for(wide) == "batch"
    assert method.scope_for(options, fit=True) == "batch"


@check(
    prs="its batches here have no flat prompt, and rows drawn twice could not be compared: see test_prs",
    proxmo="its texts here are of one word, so that what words weigh does not show: see test_proxmo",
)  # fmt: skip
def a_wide_scope_is_not_claimed_without_need(method: Method, seed: int) -> None:
    """Over a few batches, crediting groups apart changes the credit of whoever says "batch", by itself or by an option."""
    wide = widening(method) + ([{}] if method.scope == "batch" else [])
    for options in wide:
        changed = False
        for more in range(4):
            given = case(method, seed + more)
            whole = run(method, given, **options)
            for part in pieces(given.batch, "group"):
                try:
                    alone = run(method, reorder(given, method, part), **options)
                except ApportionError:
                    continue
                changed |= not np.allclose(alone.token, whole.token[index(given.batch, "token", part)], rtol=1e-6, atol=1e-9)
        assert changed, f"{method.id} with {options} gives the same credit group by group: its scope is narrower"


# --- what it refuses -----------------------------------------------------------------------------------


@check()
def an_unknown_option_is_refused_with_the_known_ones(method: Method, seed: int) -> None:
    given = case(method, seed)
    known = ", ".join(sorted(method.options)) or "none"
    with pytest.raises(OptionError, match="no option 'nonsense'") as caught:
        run(method, given, nonsense=1)
    assert known in str(caught.value)


@check()
def evidence_of_the_wrong_length_is_refused(method: Method, seed: int) -> None:
    given = case(method, seed)
    for name, values in given.evidence.items():
        with pytest.raises(OptionError, match=rf"'{name}'[\s\S]*expected {values.shape[0]}"):
            run(method, given.with_evidence(**{name: values[:-1]}))


@check()
def infinite_evidence_is_refused(method: Method, seed: int) -> None:
    given = case(method, seed)
    for name, values in given.evidence.items():
        bad = values.copy()
        bad[2] = np.inf
        with pytest.raises(OptionError, match=rf"'{name}'\[2\]"):
            run(method, given.with_evidence(**{name: bad}))


@check()
def null_evidence_is_handled_or_refused(method: Method, seed: int) -> None:
    """NaN means "not asked": it never becomes a number by accident, nor NaN credit."""
    given = case(method, seed)
    rng = np.random.default_rng(seed)
    for name, values in given.evidence.items():
        for asked in (rng.random(values.shape[0]) < 0.7, np.zeros(values.shape[0], dtype=bool)):
            holed = np.where(asked, values, np.nan)
            try:
                credit = run(method, given.with_evidence(**{name: holed}))
            except ApportionError:
                continue
            assert np.isfinite(credit.token).all()
            if credit.scored is not None:  # a table writes null there, and what a token carried would be lost
                assert not credit.unit[~credit.scored].any(), "a unit it has no opinion on carries credit"


@check()
def every_option_refuses_nonsense_words(method: Method, seed: int) -> None:
    """An option whose default is a word accepts words from a list only, and says which."""
    given = case(method, seed)
    for name, parameter in method.options.items():
        if isinstance(parameter.default, str):
            with pytest.raises((ApportionError, ValueError), match=name):
                run(method, given, **{name: "nonsense"})


# --- how it comes by evidence --------------------------------------------------------------------------

SOURCES: dict[str, Any] = {"sampler": FakeSampler, "policy": FakePolicy, "judge": FakeJudge, "author": FakeAuthor}
#: columns that fake branches do not fill, or that the methods here do not look at
PLAIN = ("token_reward", "turn_reward", "process", "truncated", "bootstrap", "success", "step_offsets", "limit")


@check()
def what_a_source_answers_is_evidence_for_it(method: Method, seed: int) -> None:
    if method.collect is None or method.source is None:
        return
    dropped = PLAIN if method.grows else set(method.evidence) & set(Batch.columns())
    batch = case(method, seed).batch.with_columns(**dict.fromkeys(dropped))
    found: Evidence = method.collect(batch, SOURCES[method.source](), rng=np.random.default_rng(seed))
    found.check(batch)
    wanted = set() if method.grows else set(method.wanted())  # what its defaults excuse it from need not be asked
    assert wanted <= set(found.arrays) <= set(method.evidence)
    assert (found.batch is not None) == method.grows
    assert found.bill.price(dict.fromkeys(asdict(found.bill), 1.0)) > 0
    learns = method.grows and method.fit is not None  # what is credited is new: what is known of it must be learned
    credit = ap.assign(batch, method.id, rng=seed, fit=learns, **{method.source: SOURCES[method.source]()})
    assert learns or credit.bill == found.bill
    assert isinstance(credit, Credit)
    assert np.isfinite(credit.token).all()


@check()
def what_it_learns_is_evidence_that_can_be_saved(method: Method, seed: int) -> None:
    if method.fit is None:
        return
    batch = case(method, seed).batch.with_columns(**dict.fromkeys(set(method.evidence) & set(Batch.columns())))
    small = {"buckets": 64} if "buckets" in keywords(method.fit) else {}
    learned, again = (method.fit(batch, rng=np.random.default_rng(seed), **small) for _ in range(2))
    assert isinstance(learned, Learned)
    found, twin = learned.evidence(batch), again.evidence(batch)
    found.check(batch)
    assert set(found.arrays) == set(method.evidence)
    assert learned.bill.trained > 0
    reloaded = type(learned).load(learned.save()).evidence(batch)  # type: ignore[attr-defined]
    for name, values in found.arrays.items():
        assert np.array_equal(values, twin.arrays[name], equal_nan=True), "fit is not deterministic"
        assert np.array_equal(values, reloaded.arrays[name], equal_nan=True), "lost in saving"
    credit = ap.assign(batch, method.id, fit=True, rng=seed, **small)
    assert credit.bill == learned.bill + found.bill


# --- what it says of itself --------------------------------------------------------------------------------


@check()
def the_docstring_has_formula_options_and_source(method: Method, seed: int) -> None:
    doc = method.doc
    assert any(line.startswith("    ") and "=" in line for line in doc.splitlines()), "no indented formula"
    assert "Source:" in doc
    missing = [name for name in (*method.options, *method.evidence) if name not in doc]
    assert not missing, f"the docstring does not explain {missing}"
    assert method.unbiased == "yes" or method.unbiased.startswith(("no", "yes")), method.unbiased


@check()
def the_smallest_batch_works(method: Method, seed: int) -> None:
    credit = method.example()
    assert isinstance(credit, (Credit, Preferences))
    assert credit.method == method.id
