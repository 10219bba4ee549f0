"""Cards of the methods: all there, at one with what the methods declare, their tiers by the written rule."""

from __future__ import annotations

from typing import get_args

import pytest

from apportion.bench.estimands import OTHERS
from apportion.bench.falsifiers import FALSIFIERS as TESTS
from apportion.credit import Preferences
from apportion.registry import methods
from apportion.survey import RecordError, records
from apportion.survey.card import FALSIFIERS, Card, CardUnit, Estimand, Verb, card, cards, estimand_of
from apportion.survey.card_lint import lint
from apportion.survey.tier import NEEDS, SAYS, TIERS, outranks, tier, verdict
from apportion.words import Unit

from .card_forms import card as made
from .card_forms import fields, logs, model


def test_every_runnable_method_has_a_card_and_nothing_else_has() -> None:
    assert list(cards()) == list(methods())


@pytest.mark.parametrize("id_", methods())
def test_a_card_is_whole_and_does_not_contradict_itself(id_: str) -> None:
    wrong = [said for said in lint(card(id_), records()[id_]) if said.kind in ("missing", "clash")]
    assert wrong == []
    assert card(id_).note, "what a reader should know beside the words"
    assert card(id_).method is None
    assert card(id_).ablation is None, "the record's checklist says it"
    assert card(id_).diagnostics is None, "the record says them"


@pytest.mark.parametrize("id_", methods())
def test_a_card_says_where_its_claim_was_read_as_the_method_says_it(id_: str) -> None:
    claim, status = card(id_).claim, methods()[id_].status
    assert claim is not None
    assert claim.at
    assert claim.from_ == {"verified": "primary", "ours": "ours"}.get(status, "secondary")


@pytest.mark.parametrize("id_", methods())
def test_the_unit_is_the_registrys_or_the_note_says_why(id_: str) -> None:
    mine, spec = card(id_), methods()[id_]
    if mine.unit != spec.unit:
        assert (mine.unit, spec.unit) == ("agent", "trajectory")
        assert f"Unit: the registry's {spec.unit}" in (mine.note or "")


@pytest.mark.parametrize("id_", methods())
def test_what_a_method_asks_for_is_where_its_intervention_comes_from(id_: str) -> None:
    mine, spec = card(id_), methods()[id_]
    asks = spec.source == "sampler" or spec.grows
    if asks:  # fresh runs, or fresh actions that a model judges
        assert mine.intervention in ("rerun", "environment_restore", "decoder_restore", "surrogate")
    if mine.intervention in ("environment_restore", "decoder_restore"):
        assert asks
    if mine.intervention == "rerun" and not asks:  # its own rollouts, which start afresh from the prompt
        assert spec.unit == "trajectory"
        assert "group" in spec.reads
    if mine.intervention == "log_matching":
        assert spec.source is None
        assert spec.fit is None
        assert {"state", "ids"} & spec.reads
    if mine.intervention == "surrogate":  # a model is asked or learned, or is the policy's own log-ratio
        assert spec.fit or spec.source or "ref_logp" in spec.reads
    if not (spec.source or spec.fit or spec.evidence):
        assert mine.falsifiers.get("noise_floor", "no_noise") == "no_noise"


@pytest.mark.parametrize("id_", methods())
def test_the_interface_is_what_the_method_gives(id_: str) -> None:
    """Masks, weights and the paper's preferences reach a trainer as advantages; rewards do not."""
    example = methods()[id_].example()
    kind = "preference" if isinstance(example, Preferences) else example.kind
    mine = card(id_).interface
    assert mine == kind or (kind == "advantage" and mine in ("mask", "weight", "preference"))


@pytest.mark.parametrize("id_", methods())
def test_one_number_for_a_whole_rollout_cannot_be_shuffled(id_: str) -> None:
    """Nor does it predict of units within."""
    if card(id_).unit in ("trajectory", "agent"):
        assert not {"shuffled", "zero_units"} & set(card(id_).falsifiers)
    assert {"sign_flip", "rewording", "noise_floor", "witness"} <= set(card(id_).falsifiers)
    assert (card(id_).falsifiers["witness"] == "identified") <= (tier(card(id_)) == TIERS[0])


def test_estimands_are_those_the_benchmark_knows() -> None:
    assert set(get_args(Estimand)) == {"advantage", "none", *OTHERS}
    assert estimand_of("vineppo") == "advantage"
    assert estimand_of("scar") == "shapley"
    assert estimand_of("ccpo") == "difference"
    assert estimand_of("capo") == "none"


def test_an_unknown_method_and_one_without_a_card_are_said_so() -> None:
    with pytest.raises(RecordError, match="no record 'gigp'"):
        estimand_of("gigp")
    without = next(id_ for id_, found in records().items() if found.card is None)
    with pytest.raises(RecordError, match=f"'{without}' has no card"):
        card(without)


def test_falsifiers_and_units_are_the_houses() -> None:
    assert list(FALSIFIERS) == list(TESTS)
    assert set(get_args(CardUnit)) == {*get_args(Unit), "agent"}
    assert set(NEEDS) == set(SAYS) == set(get_args(Verb))


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (made(), 0),
        (made(intervention="environment_restore", environment="present"), 0),
        (made(intervention="rerun", environment="present"), 0),
        (made(environment="present"), 3),  # the decoder alone does not put an environment back
        (made(environment=None), 3),
        (made(state="observed"), 3),
        (made(intervention="rerun", state="matched"), 3),
        (logs(), 1),
        (logs(support__overlap="by_design", support__exchangeability="assumed"), 1),
        (logs(support__overlap="assumed"), 3),
        (logs(support__overlap=None), 3),
        (logs(support__exchangeability="unstated"), 3),
        (logs(support__exchangeability=None), 3),
        (logs(state="observed"), 3),
        (model(), 2),
        (model(state="latent"), 2),
        (model(intervention="none"), 3),
        (Card(), 3),
    ],
)
def test_the_tier_follows_from_the_fields(which: Card, expected: int) -> None:
    assert tier(which) == TIERS[expected]
    assert verdict(which)[1].startswith(f"state {which.state or 'missing'}, intervention {which.intervention or 'missing'}")


@pytest.mark.parametrize(
    ("verb", "bears"),
    [("measures_effect", 2), ("attributes", 3), ("predicts", 4), ("ranks", 4), ("shapes", 4)],
)
def test_a_claim_outranks_the_tiers_below_its_verb(verb: Verb, bears: int) -> None:
    by_tier = [made(verb=verb), logs(verb=verb), model(verb=verb), model(verb=verb, intervention="none")]
    assert [tier(one) for one in by_tier] == list(TIERS)
    assert [outranks(one) for one in by_tier] == [False] * bears + [True] * (4 - bears)
    assert not outranks(made(verb=None))


def test_a_tier_cannot_be_written_down() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        Card.model_validate({**fields(), "tier": "restored-interventional"})


@pytest.mark.parametrize(
    ("falsifiers", "says"),
    [({"shufled": "worse"}, "no falsification test 'shufled'"), ({"witness": "yes"}, "expected not_identified or identified")],
)
def test_a_falsifier_is_one_of_ours_with_an_answer_it_can_have(falsifiers: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made(falsifiers=falsifiers)
