"""Named groups: a column beside the arm, in the table and in its data; nothing where a study has none."""

from __future__ import annotations

import pytest

from reports.accounts import ledger
from reports.comparisons import compare
from reports.fairness import fairness
from reports.groups import grouped
from reports.main_table import main_table
from reports.table import Table
from tests.reports import synthetic


def tables(groups: list[str | None]) -> list[Table]:
    study, trials, curves = synthetic.four_arms(3)
    arms = [arm.model_copy(update={"group": group}) for arm, group in zip(study.arms, groups, strict=True)]
    study = study.model_copy(update={"arms": arms})
    comparisons = compare(study, trials)
    fair = fairness(study, trials, curves, comparisons)
    assert fair is not None
    return [main_table(study, trials, comparisons), fair, ledger(study, trials)]


def test_the_group_stands_beside_the_arm() -> None:
    main, fair, account = tables([None, "published", "ours", "ours"])
    for table in (main, fair, account):
        assert [column.title for column in table.columns][:2] == ["arm", "group"]
        assert table.columns[1].sortable
        assert list(table.data.columns)[:2] == ["arm", "group"]
    assert [row[1].text for row in main.rows] == ["–", "published", "ours", "ours"]
    assert [row[1].text for row in fair.rows] == ["published", "ours", "ours"]
    assert [row[1].text for row in account.rows] == ["–", "published", "ours", "ours", ""]
    assert main.data["group"].tolist()[1:] == ["published", "ours", "ours"]


def test_without_groups_nothing_changes() -> None:
    for table in tables([None] * 4):
        assert "group" not in [*table.data.columns, *(column.title for column in table.columns)]


@pytest.mark.parametrize("groups", [["a", "b", "b", "b"]])
def test_a_table_without_arms_has_no_groups(groups: list[str]) -> None:
    study, _, _ = synthetic.four_arms(1)
    arms = [arm.model_copy(update={"group": group}) for arm, group in zip(study.arms, groups, strict=True)]
    table = tables([None] * 4)[0]
    headless = Table("x", "x", table.columns[1:], tuple(row[1:] for row in table.rows), (), table.data)
    assert grouped(study.model_copy(update={"arms": arms}), headless) is headless
