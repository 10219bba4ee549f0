"""ArCHer (Zhou et al. 2024, arXiv 2402.19446): an off-policy critic of utterances pays the tokens of fresh ones."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..evidence.fresh import fresh_actions
from ..evidence.twins import LearnedTwins, Values, fit_twins
from ..registry import method
from ..structure import Float
from ..words import check_word

Baseline = Literal["none", "token"]


def collect(
    batch: Batch, sampler: Sampler, *, rng: np.random.Generator, k: int = 1, samples: int | None = None
) -> Evidence:  # fmt: skip
    """Fresh actions at turns of this batch, the paper's actor samples (``fresh_action``): the batch that is credited.

    k: actions a state. samples: how many turns, drawn with replacement; None: every turn once. (The paper: 3 epochs of
    256 states of the replay buffer, an action each. Ours are states of the newest batch.) No environment step.
    """
    return fresh_actions(batch, sampler, rng, k=k, samples=samples, who="archer")


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    state: LearnedTwins | None = None,
    gamma: float = 0.95,
    tau: float = 0.1,
    epochs: int = 50,
    values: Values = "newest",
    capacity: int = 100_000,
    warmup: int = 0,
    folds: int = 5,
    ridge: float = 1.0,
    buckets: int = 1024,
) -> LearnedTwins:
    """Twin critics, trained on this batch and on all that ``state`` remembers.

        L = sum_c MSE(Q_c(s, a), r + gamma Vbar_c(s')) + MSE(V_c(s), Qbar_c(s, a~)),      target <- (1 - tau) target + tau online

    gamma, tau, epochs, capacity: .95, .1, 50 an iteration and 100,000 transitions, the paper's. An epoch of the paper is a
    step of Adam on 256 transitions; ours fits the heads exactly (``evidence.twins``), so that a batch of its own
    needs more epochs or a larger tau only for the outcome to travel: two lags of 1 / tau epochs a turn. warmup: for that
    many batches the critic has no opinion, and nothing is trained (paper: 20, 10 in Guess My City; ours 0).
    values: the paper draws a~ at the replayed state anew from the policy of now. "newest" learns V from the turns of the
    newest batch, whose actions are that; "replay" from all turns and the actions of their time.
    """
    given = {"gamma": gamma, "tau": tau, "epochs": epochs, "values": values, "capacity": capacity, "warmup": warmup}
    return fit_twins(batch, rng, state=state, folds=folds, ridge=ridge, buckets=buckets, **given)  # type: ignore[arg-type]


@method(
    unit="turn",
    reads=set(),
    unless={"token_baseline": ("baseline", "none")},
    evidence={"q": "turn", "v": "turn", "token_baseline": "token"},
    several={"q", "v"},
    source="sampler",
    collect=collect,
    fit=fit,
    cost="the critic trained on the replay buffer epoch by epoch; per credited turn one fresh action and a critic pass",
    status="verified",
    unbiased="no: the advantage is that of learned critics, the lower of two each",
    smallest="(Batch.from_turns([[1, 1]]), {'q': [[0.5, 0.6], [0.9, 1.0]], 'v': [[0.5, 0.4], [0.7, 0.8]]})",
    grows=True,
    scope="trajectory",
)
def archer(batch: Batch, *, q: Float, v: Float, token_baseline: Float | None = None, baseline: Baseline = "none") -> Credit:
    """The lower of two Q of a turn less the lower of two V, the same for all tokens of the turn.

        A_t = min(Q1, Q2)(s_t, a_t) - min(V1, V2)(s_t)              loss = -mean_t A_t sum_j log pi(a_t^j | s_t, a_t^{<j})

    q, v: (turns, 2) from twin critics, or (turns,) from one; reward units, any sign. They come from ``fit`` (TD on a
    replay buffer, see there) or from your own critic. No rewards are read here: they reached the critics. One value
    per turn; the sum over its tokens is not divided by its length, nor A normalised (loss.denominator "unit": the mean
    over utterances). The paper takes no importance ratio, for its utterances are drawn when they are credited.

    baseline: "token", ArCHer with baseline: each token carries A_t - b_j, with ``token_baseline`` b_j(s_t, a_t^{<j}),
    shape (T,), read at policy tokens. targets: ``token_baseline``, what b should regress on: A_t at all policy tokens.

    With ``sampler=`` the actions are fresh, drawn now at states of the batch, as in the paper (its ``fresh_action``); the
    credit is then of a new batch of single turns. Without it, credit is of the logged turns. Learned afresh from one
    batch (``fit=True``) it is no replay: go on with ``ap.learn(batch, "archer", state=...)``.

    Null (NaN) q, v or b, as from a critic in its warm-up: the turn has no credit and leaves the loss (``scored`` and
    ``keep`` False). A turn at the end has y = r; one that was cut off goes on with V of what stands there.

    Source: Zhou et al., ICML 2024 (2402.19446); YifeiZhou02/ArCHer ``archer/algorithms/archer/trainer.py`` and
    ``offpolicy_train_loop.py``, both read. Ours: linear heads, cross-fitting (folds), V from the newest batch. The
    offline variant (IQL, AWR) is not here.
    """
    check_word(baseline, Baseline, "baseline")
    a = _lower(q, batch.n_turns, "q") - _lower(v, batch.n_turns, "v")
    turn = batch.within("token", "turn")
    token = a[turn]
    if baseline == "token":
        if token_baseline is None:
            raise OptionError("baseline='token' needs token_baseline=, one per token")
        token = token - token_baseline
    null = batch.action & np.isnan(token)
    scored = ~np.isnan(a) & (np.bincount(turn, weights=null, minlength=a.size) == 0)
    keep = batch.action & scored[turn]
    a = np.where(scored, a, 0.0)
    return Credit(
        batch, "turn", unit=a, token=np.where(keep, token, 0.0),
        keep=None if scored.all() else keep, scored=None if scored.all() else scored,
        targets={"token_baseline": np.where(keep, a[turn], 0.0)}, loss=Loss(denominator="unit"),
    )  # fmt: skip


def _lower(heads: Float, n: int, name: str) -> Float:
    if heads.ndim > 2:
        raise OptionError(f"evidence '{name}' has shape {heads.shape}: expected ({n},) or ({n}, critics)")
    lower: Float = heads.reshape(n, -1).min(axis=1)
    return lower
