"""RUDDER (Arjona-Medina et al. 2019, arXiv 1806.07857): each step is paid the change of the predicted return."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Bill
from ..evidence.reward_model import LearnedReturn
from ..evidence.text_model import fit_text
from ..ops.groups import group_mean
from ..ops.places import against_others_at_place
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Float, Int
from ..words import Single, check_word

Form = Literal["immediate", "to_go", "reward"]
Residual = Literal["share", "none"]
Start = Literal["zero", "mean"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    auxiliary: float = 0.5,
) -> LearnedReturn:
    """A return predictor for this batch, trained to know the return at the end and as early as it can.

        loss = (g_last - R)^2 + auxiliary mean_t (g_t - R)^2

    The paper's loss on a cross-fitted ridge regression over all pieces of text so far (``evidence.text_model``),
    where the paper has an LSTM with a linear head: it remembers what was said, but neither when nor in
    combination beyond neighbours. auxiliary: the paper's .5. Equal returns in the batch teach it nothing.
    """
    how: Literal["complete", "prefixes"] = "prefixes" if auxiliary else "complete"
    model = fit_text(batch, "step", rng, rows=how, folds=folds, ridge=ridge, buckets=buckets, every=auxiliary)
    return LearnedReturn(model, Bill(trained=float(batch.action.sum())))


@method(
    unit="step",
    reads={"reward", "group"},
    may_read={"steps"},
    evidence={"prediction": "step"},
    fit=fit,
    cost="T tokens read by a sequence model, which is trained on them",
    status="verified",
    unbiased="no: 'immediate' trusts the predictor, and an error that is shared out does not know whose it was",
    smallest="(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), {'prediction': [0.7, 0.9, 0.2, 0.1]})",
    scope="group",
)
def rudder(
    batch: Batch,
    *,
    prediction: Float,
    form: Form = "immediate",
    residual: Residual = "share",
    start: Start = "zero",
    quality: float | None = None,
    single: Single = "error",
) -> Credit:
    """Reward redistribution: the return, moved to the steps at which it became foreseeable.

        r'_t = g_t - g_{t-1} + e / T,      g_{-1} = 0,      e = R - g_{T-1}
        A_t  = r'_t - mean_{j != i} r'_j at the same place                    form "immediate"

    prediction: g, the return predicted once each step is done (turns where the batch has no steps), shape
    (steps,). T: steps of the trajectory. R: its total reward, however it was spread. The redistributed
    rewards add up to R, so the best policies stay the best. Where g is right, nothing is left to be expected
    after a step: r'_t by itself estimates Q(s_t, a_t), less a constant of s_t.

    form: "immediate" takes it for that, less the mean of the other rollouts of the prompt at that place (the
    demonstration code has a table of values in its stead); "to_go" is sum_{u >= t} r'_u less the same of the
    others, which stays right where g is wrong; "reward" gives r' itself, to be turned into an advantage.
    residual: "share" spreads the error e equally (paper and tutorial); "none" leaves it out (demonstration code).
    start: "zero" puts a constant in the predictions on the first step (all code); "mean" takes the mean reward of
    the prompt's rollouts for g_{-1}, and r' add up to R less that. Against the others at the same place it cancels.
    quality: a trajectory whose |e| is above this is left its reward at the end. The paper mixes by a
    measure of quality; this gate is ours, and off (None). single: what a prompt with one rollout gets.

    A null (NaN) prediction is no change: what it spans goes to the next step that has one. A trajectory without
    any is left its reward at the end. diagnostics: ``error``, the root mean square of e, and ``redistributed``,
    the share of trajectories that were.

    Source: Arjona-Medina et al., NeurIPS 2019 (1806.07857); ml-jku/rudder-demonstration-code, the tutorial of
    widmi. Ours: the baseline, the learned part (see ``fit``), nulls.
    """
    check_word(form, Form, "form")
    check_word(residual, Residual, "residual")
    check_word(start, Start, "start")
    check_word(single, Single, "single")
    if quality is not None and quality < 0:
        raise OptionError(f"quality = {quality}: expected None, or the largest error |R - g| that is trusted, at least 0")
    owner, n = batch.within("step", "trajectory"), batch.n_trajectories
    bounds = np.searchsorted(owner, np.arange(n + 1))
    over = batch.within("trajectory", "group")
    origin = group_mean(batch.reward, over)[0][over] if start == "mean" else np.zeros(n)
    r, error = _changes(prediction, bounds, origin, batch.reward)
    known = np.isfinite(error)
    trusted = known if quality is None else known & (np.abs(np.where(known, error, 0.0)) <= quality)
    if residual == "share":
        r += np.where(known, error, 0.0)[owner] / np.diff(bounds)[owner]
    r[~trusted[owner]] = 0.0
    r[bounds[1:][~trusted] - 1] = (batch.reward - origin)[~trusted]
    found = {
        "error": float(np.sqrt(np.mean(error[known] ** 2))) if known.any() else 0.0, "redistributed": float(trusted.mean()),
    }  # fmt: skip
    if form == "reward":
        token = np.zeros(batch.n_tokens)
        token[batch.last_action("step")] = r
        return Credit(batch, "step", r, token, kind="reward", diagnostics=found)
    x = discounted_suffix(r, bounds) if form == "to_go" else r
    credit = against_others_at_place(x, owner, over, single=single)
    return Credit.of(batch, "step", credit, diagnostics=found)


def _changes(g: Float, bounds: Int, origin: Float, reward: Float) -> tuple[Float, Float]:
    """g_t - g_{t-1} over the steps with a prediction (0 at the others), and the error at the end (NaN: none known)."""
    change, error = np.zeros(g.size), np.full(reward.size, np.nan)
    at = np.flatnonzero(~np.isnan(g))
    owner = np.searchsorted(bounds, at, side="right") - 1
    opens = np.append(True, owner[1:] != owner[:-1])[: at.size]
    change[at] = g[at] - np.where(opens, origin[owner], np.append(0.0, g[at])[:-1])
    ends = np.append(owner[1:] != owner[:-1], True)[: at.size]
    error[owner[ends]] = reward[owner[ends]] - g[at[ends]]
    return change, error
