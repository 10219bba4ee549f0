"""Intervals of the report hold the truth as often as they say, from as few seeds as suites have."""

from __future__ import annotations

import pytest

from apportion.report.coverage import Table, coverage, table

SEEDS = (2, 10)


@pytest.fixture(scope="module")
def found() -> Table:
    return coverage(150, SEEDS, seed=1)


def test_intervals_cover_what_they_promise(found: Table) -> None:
    """95 % intervals of 150 experiments: 90 to 98 %, and two standard errors of a share of 150 at the upper end."""
    plain = {name: row for name, row in found.items() if not name.startswith("(") and "far apart" not in name}
    assert len(plain) >= 11
    for name, row in plain.items():
        for n, share in row.items():
            assert 0.90 <= share <= 0.995, (name, n, share)
        assert sum(row.values()) / len(row) <= 0.985, name


def test_shares_of_unlike_settings_are_wider_and_never_narrower_than_promised(found: Table) -> None:
    assert all(share >= 0.95 for share in found["collapse, settings far apart"].values())


def test_percentiles_of_few_seeds_do_not(found: Table) -> None:
    """Why they are not used: of two seeds they hold the mean half of the time."""
    percentiles = found["(percentiles of a bootstrapped mean)"]
    assert percentiles[2] < 0.6
    assert percentiles[10] < 0.93


def test_the_table_has_a_line_for_each_figure(found: Table) -> None:
    lines = table(found).splitlines()
    assert lines[0].split() == ["2", "10", "seeds"]
    assert len(lines) == 1 + len(found)
    assert max(map(len, lines)) < 80
