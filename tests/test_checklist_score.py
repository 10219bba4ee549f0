"""Two fractions: what counts, what leaves the denominator, and that nothing is added up."""

from __future__ import annotations

import pytest

from apportion.checklist.items import extension, items
from apportion.checklist.score import score

REQUIRED = [i.id for i in items().values() if i.priority == "required"]
RECOMMENDED = [i.id for i in items().values() if i.priority == "recommended"]


def test_what_is_reported_counts_and_nothing_else() -> None:
    words = ["reported"] * 5 + ["partial"] * 2 + ["not_reported"] * 2 + ["not_applicable"]
    found = score(dict(zip(REQUIRED, words, strict=True)))
    assert (found.required.reported, found.required.of) == (5, 9)
    assert found.required.fraction == pytest.approx(5 / 9)
    assert str(found.required) == "5/9 reported, 2 partial, 2 not reported, 1 not applicable"
    assert str(found.recommended) == "0/4 reported, 4 unanswered"


def test_partial_is_not_half_a_point() -> None:
    assert score(dict.fromkeys(REQUIRED, "partial")).required.fraction == 0.0


def test_what_is_unanswered_stays_in_the_denominator() -> None:
    found = score({REQUIRED[0]: "reported", REQUIRED[1]: "unanswered"})
    assert (found.required.reported, found.required.of, found.required.unanswered) == (1, 10, 9)


def test_where_nothing_applies_there_is_no_fraction() -> None:
    found = score(dict.fromkeys(RECOMMENDED, "not_applicable"))
    assert found.recommended.fraction is None
    assert found.recommended.of == 0


def test_the_extension_is_counted_beside_the_others_and_only_when_asked_for() -> None:
    everything = dict.fromkeys([*items(), *extension()], "reported")
    assert score(everything).extension is None
    found = score(everything, extended=True)
    assert found.extension is not None
    assert (found.required.of, found.recommended.of, found.extension.of) == (10, 4, 8)
    assert {*found.to_plain()} == {"required", "recommended", "extension"}
    assert found.to_plain()["required"]["fraction"] == 1.0


@pytest.mark.parametrize("answers", [{"spred": "reported"}, {"spread": "yes"}])
def test_what_is_no_answer_is_refused(answers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected an item's id and one of"):
        score(answers)
