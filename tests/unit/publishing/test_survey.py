import os
from pathlib import Path

import pytest

from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.job import Job
from dispatcher.domain.settings import ContentSettings
from dispatcher.publishing.recipients import open_recipients
from dispatcher.publishing.survey import Survey, content_rules, fingerprint, survey
from tests.unit.publishing.conftest import MakeCampaign

ANA, BEN, EVE = "+12065550142", "+12065550143", "+12065550144"


def unheard(done: int, total: int) -> None:
    del done, total


def surveyed(make_campaign: MakeCampaign, table: str | bytes, **changed: object) -> Survey:
    return survey(make_campaign(table, **changed), unheard)


def test_counts_what_the_campaign_would_cost(make_campaign: MakeCampaign) -> None:
    found = surveyed(
        make_campaign,
        f"to,name,carrier\n{ANA},Ana,att\n{BEN},{'n' * 200},att\n{EVE},Ève漢,\nnobody,No,\n",
    )

    assert (found.rows, found.recipients, found.rejected) == (4, 3, 1)
    assert found.messages == {"GSM-7": 2, "UCS-2": 1}
    assert found.segments_by_encoding == {"GSM-7": 3, "UCS-2": 1}
    assert found.segments == {"att": 3, None: 1}
    assert found.total_segments == 4


def test_a_message_with_media_counts_as_one(make_campaign: MakeCampaign) -> None:
    table, media = f"to,name\n{ANA},{'n' * 500}\n", ("https://example.com/a.png",)

    assert surveyed(make_campaign, table, media_urls=media).segments_by_encoding == {None: 1}
    assert surveyed(make_campaign, table, media_urls=media, template=None).segments_by_encoding == {None: 1}


def test_rejected_rows_are_written_beside_the_recipients_with_line_and_reason(make_campaign: MakeCampaign) -> None:
    found = surveyed(make_campaign, f'to,name\n{ANA},Ana\nnobody,"No, body"\n{BEN}\n')

    assert found.rejects.name == "people.rejects.csv"
    assert found.rejects.read_text().splitlines() == [
        "line,reason,to,name",
        '3,"to is no number in E.164, like +12065550142",nobody,"No, body"',
        f"4,the row has 1 columns and the first line 2,{BEN}",
    ]


def test_rejected_rows_keep_their_bytes(make_campaign: MakeCampaign) -> None:
    found = surveyed(make_campaign, f"to,name\n{ANA},Jos\xe9\n".encode("latin-1"))

    assert b"Jos\xe9" in found.rejects.read_bytes()


def test_the_rejects_of_an_earlier_run_go_when_there_are_none(make_campaign: MakeCampaign) -> None:
    surveyed(make_campaign, "to,name\nnobody,No\n")
    found = surveyed(make_campaign, f"to,name\n{ANA},Ana\n")

    assert not found.rejects.exists()


def test_recipients_are_never_overwritten_by_their_rejects(make_campaign: MakeCampaign, tmp_path: Path) -> None:
    table = "to,name\nnobody,No\n"
    campaign = make_campaign(table, recipients=tmp_path / "people.rejects.csv")
    campaign.recipients.write_text(table)

    found = survey(campaign, unheard)

    assert campaign.recipients.read_text() == table
    assert found.rejects.name == "people.rejects.rejects.csv"


def test_tells_how_far_it_is(make_campaign: MakeCampaign) -> None:
    told: list[tuple[int, int]] = []
    # Long ones: Python reads up to 128 KB ahead.
    rows = "".join(f"+1206555{number:04d},{'Ana' * 400}\n" for number in range(5000))

    survey(make_campaign(f"to,name\n{rows}"), lambda done, total: told.append((done, total)))

    assert [done for done, _ in told] == [2000, 4000]
    assert all(4500 < total < 5500 for _, total in told)


def test_the_fingerprint_changes_with_either_file(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(f"to,name\n{ANA},Ana\n")
    first = fingerprint(campaign)

    campaign.recipients.write_text(f"to,name\n{ANA},Anna\n")
    second = fingerprint(campaign)
    campaign.file.write_text("another")

    assert len({first, second, fingerprint(campaign)}) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_rejects_that_cannot_be_written_are_one_sentence(make_campaign: MakeCampaign, tmp_path: Path) -> None:
    campaign = make_campaign("to,name\nnobody,No\n")
    tmp_path.chmod(0o500)

    with pytest.raises(DispatcherError, match=r"people\.rejects\.csv cannot be read or written: permission denied"):
        survey(campaign, unheard)


def test_rejects_in_the_way_of_a_folder_are_one_sentence(make_campaign: MakeCampaign, tmp_path: Path) -> None:
    campaign = make_campaign("to,name\nnobody,No\n")
    (tmp_path / "people.rejects.csv").mkdir()

    with pytest.raises(DispatcherError, match=r"people\.rejects\.csv cannot be read or written: is a directory"):
        survey(campaign, unheard)


LINKS = ContentSettings(rules={"links": "refuse", "variables": "warn", "sex": "warn"}, words={"sex": ("spicy",)})


def test_what_the_rules_for_bodies_refuse_is_rejected_and_what_they_warn_of_is_counted(
    make_campaign: MakeCampaign,
) -> None:
    campaign = make_campaign(f"to,name\n{ANA},bit.ly/spring\n{BEN},{{name}}\n{EVE},spicy {{x}}\n")
    found = survey(campaign, unheard, LINKS)
    assert (found.rows, found.rejected) == (3, 1)
    assert found.warnings == {"variables": 2, "sex": 1}
    reasons = found.rejects.read_text().splitlines()
    assert len(reasons) == 2
    assert reasons[1].startswith('2,"the body has a link of bit.ly, a shortener')
    with open_recipients(campaign, content_rules(LINKS, lambda _: None)) as recipients:
        assert [row for row, job in recipients if isinstance(job, Job)] == [2, 3], "the publisher sees the same"


def test_what_refuses_rows_is_part_of_the_fingerprint_and_what_warns_is_not(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(f"to,name\n{ANA},Ana\n")
    plain, strict = fingerprint(campaign), fingerprint(campaign, ContentSettings(rules={"sex": "refuse"}))
    worded = ContentSettings(rules={"sex": "refuse"}, words={"sex": ("spicy",)})
    assert len({plain, strict, fingerprint(campaign, worded), fingerprint(campaign, LINKS)}) == 4
    assert fingerprint(campaign, ContentSettings(rules={"sex": "warn"}, words={"sex": ("spicy",)})) == plain
