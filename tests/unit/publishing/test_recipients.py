import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.domain.campaign import Campaign
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.job import Job
from dispatcher.publishing.recipients import Rejected, open_recipients
from tests.unit.publishing.conftest import MakeCampaign

ANA, BEN = "+12065550142", "+12065550143"


def rows(campaign: Campaign) -> list[tuple[int, Job | Rejected]]:
    with open_recipients(campaign) as recipients:
        return list(recipients)


def jobs(campaign: Campaign) -> list[Job]:
    return [found for _, found in rows(campaign) if isinstance(found, Job)]


def rejected(campaign: Campaign) -> list[tuple[int, str]]:
    return [(found.line, found.reason) for _, found in rows(campaign) if isinstance(found, Rejected)]


def test_a_row_becomes_a_job_with_the_text_filled_in(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        f"name,to,carrier,timezone,send_at\nAna,{ANA},tmobile,America/Denver,2026-11-24T18:00:00Z\n",
        tags={"season": "spring"},
        media_urls=("https://example.com/a.png",),
        expires_at=datetime(2026, 12, 1, tzinfo=UTC),
    )

    assert rows(campaign) == [
        (
            1,
            Job(
                id="spring-000001",
                campaign="spring",
                to=ANA,
                pool="marketing",
                body="Hi Ana",
                media_urls=("https://example.com/a.png",),
                send_at=datetime(2026, 11, 24, 18, tzinfo=UTC),
                expires_at=datetime(2026, 12, 1, tzinfo=UTC),
                timezone="America/Denver",
                carrier="tmobile",
                tags={"season": "spring"},
            ),
        )
    ]


def test_the_known_columns_are_optional_and_may_be_empty(make_campaign: MakeCampaign) -> None:
    bare = Job(id="spring-000001", campaign="spring", to=ANA, pool="marketing", body="Hi Ana")

    assert jobs(make_campaign(f"to,name\n{ANA},Ana\n")) == [bare]
    assert jobs(make_campaign(f"to,name,carrier,timezone,send_at\n{ANA},Ana,, ,\n")) == [bare]


def test_everybody_gets_the_same_body_when_there_is_no_template(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(f"to\n{ANA}\n{BEN}\n", template=None, body="Hello {{ all }}")

    assert [job.body for job in jobs(campaign)] == ["Hello {{ all }}"] * 2


def test_a_known_column_can_stand_in_the_template(make_campaign: MakeCampaign) -> None:
    (job,) = jobs(make_campaign(f"to,carrier\n{ANA},att\n", template="{{ to }} {{ carrier }}"))

    assert job.body == f"{ANA} att"


def test_a_row_is_not_sent_before_the_window_opens(make_campaign: MakeCampaign) -> None:
    opens, later = datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)
    campaign = make_campaign(f"to,name,send_at\n{ANA},Ana,\n{BEN},Ben,2026-11-25T00:00:00Z\n", not_before=opens)

    assert [job.send_at for job in jobs(campaign)] == [opens, later]
    assert [job.send_at for job in jobs(make_campaign(f"to,name\n{ANA},Ana\n", not_before=opens))] == [opens]


def test_a_row_that_is_to_leave_before_the_window_waits_for_it(make_campaign: MakeCampaign) -> None:
    opens = datetime(2026, 11, 24, tzinfo=UTC)
    campaign = make_campaign(f"to,name,send_at\n{ANA},Ana,2026-11-23T00:00:00Z\n", not_before=opens)

    assert [job.send_at for job in jobs(campaign)] == [opens]


@pytest.mark.parametrize(
    ("send_at", "ends_in", "expires_in"),
    [("", None, 2), ("2026-11-24T05:00:00Z", None, 7), ("2026-11-24T05:00:00Z", 6, 6), ("", 6, 2)],
)
def test_a_row_may_be_late_for_so_long_and_never_after_the_window(
    make_campaign: MakeCampaign, send_at: str, ends_in: int | None, expires_in: int
) -> None:
    opens = datetime(2026, 11, 24, tzinfo=UTC)
    campaign = make_campaign(
        f"to,name,send_at\n{ANA},Ana,{send_at}\n",
        not_before=opens,
        expires_at=None if ends_in is None else opens + timedelta(hours=ends_in),
        stale_after=7200.0,
    )

    assert [job.expires_at for job in jobs(campaign)] == [opens + timedelta(hours=expires_in)]


def test_a_row_without_a_time_is_never_stale(make_campaign: MakeCampaign) -> None:
    assert [job.expires_at for job in jobs(make_campaign(f"to,name\n{ANA},Ana\n", stale_after=60.0))] == [None]


def test_the_longest_text_that_twilio_takes_is_a_job(make_campaign: MakeCampaign) -> None:
    assert len(jobs(make_campaign(f"to,name\n{ANA},{'a' * 1597}\n"))) == 1


def test_a_carrier_may_be_written_in_capitals(make_campaign: MakeCampaign) -> None:
    assert [job.carrier for job in jobs(make_campaign(f"to,name,carrier\n{ANA},Ana, ATT\n"))] == ["att"]


def test_what_a_spreadsheet_writes_is_read(make_campaign: MakeCampaign) -> None:
    table = f'\ufeffto , name\r\n {ANA} ,"Ana ""A"", Sr\r\nof Denver"\r\n\r\n{BEN},Ben\r\n'

    assert [(job.id, job.to, job.body) for job in jobs(make_campaign(table))] == [
        ("spring-000001", ANA, 'Hi Ana "A", Sr\r\nof Denver'),
        ("spring-000002", BEN, "Hi Ben"),
    ]


def test_ids_count_all_rows_so_that_mending_one_changes_no_other(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(f"to,name\n{ANA},Ana\nnobody,Nobody\n\n{BEN},Ben\n")

    assert [row for row, _ in rows(campaign)] == [1, 2, 3]
    assert [job.id for job in jobs(campaign)] == ["spring-000001", "spring-000003"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2065550142,Ana,,,", "to is no number in E.164, like +12065550142"),
        (",Ana,,,", "to is no number in E.164, like +12065550142"),
        (f"{ANA},Ana", "the row has 2 columns and the first line 5"),
        (f"{ANA},Ana,,,,", "the row has 6 columns and the first line 5"),
        (f"{ANA},Ana,sprint,,", "the carrier is none of att, tmobile, verizon, other"),
        (f"{ANA},Ana,,Mars/Olympus,", "timezone is no time zone, like America/Denver"),
        (f"{ANA},Ana,,America,", "timezone is no time zone, like America/Denver"),
        (f"{ANA},Ana,,../etc/passwd,", "timezone is no time zone, like America/Denver"),
        (f"{ANA},Ana,,,tomorrow", '"tomorrow" is no time with an offset; write one like "2026-11-24T18:00:00Z"'),
        (f"{ANA},Ana,,,2026-12-01T00:00:00Z", "send_at is not before the end of the campaign's window"),
        (f"{ANA},{'a' * 1598},,,", "the body has 1601 characters; Twilio takes up to 1600"),
        (f'{ANA},"{"a" * 140_000}",,,', "a field has no end; is there a quotation mark too few?"),
    ],
)
def test_a_row_that_is_no_job_says_why_and_stops_nothing(make_campaign: MakeCampaign, row: str, reason: str) -> None:
    campaign = make_campaign(
        f"to,name,carrier,timezone,send_at\n{ANA},Ana,,,\n{row}\n{BEN},Ben,,,\n",
        expires_at=datetime(2026, 12, 1, tzinfo=UTC),
    )

    assert rejected(campaign) == [(3, reason)]
    assert [job.to for job in jobs(campaign)] == [ANA, BEN]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ name }}", "the body is empty"),
        (" {{ name }}\n\n", "the body is empty"),
        ("{{ name.first.letter }}", "undefined value in line 1"),
    ],
)
def test_a_text_that_cannot_be_sent_rejects_the_row(make_campaign: MakeCampaign, template: str, reason: str) -> None:
    assert rejected(make_campaign(f"to,name\n{ANA},\n", template=template)) == [(2, reason)]


def test_bytes_that_are_no_utf8_reject_the_row_when_they_would_be_sent(make_campaign: MakeCampaign) -> None:
    table = f"to,name,note\n{ANA},Jos\xe9,\n{BEN},Ben,caf\xe9\n".encode("latin-1")
    campaign = make_campaign(table)

    ((_, first), _) = rows(campaign)

    assert isinstance(first, Rejected)
    assert first.reason == "the row is no UTF-8 text"
    assert first.fields[1].encode("utf-8", "surrogateescape") == b"Jos\xe9"
    assert [job.to for job in jobs(campaign)] == [BEN]


def test_the_line_of_a_rejected_row_is_where_it_begins(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(f'to,name\n{ANA},"Ana\nof\nDenver"\n\nnobody,"No\nbody"\nno,No\n')

    assert [line for line, _ in rejected(campaign)] == [6, 8]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", 'is empty; its first line names the columns, of which one is "to"'),
        ("\n\n", 'is empty; its first line names the columns, of which one is "to"'),
        ("phone,name\n", 'has no column "to" in its first line; it has "phone", "name"'),
        ("to;name\n", "are not separated by commas; save it as CSV with commas"),
        ("to\tname\n", "are not separated by commas; save it as CSV with commas"),
        ("to,name,name\n", 'has the column "name" twice; keep one of them'),
        ("to,store\n", r'asks for "code", "name", and .*people\.csv has no such column; it has "to", "store"'),
        ("to,name\n".encode("utf-16"), "is UTF-16; save it as CSV in UTF-8"),
        ("a" * 140_000, "is no CSV file; its first line names the columns"),
    ],
)
def test_a_first_line_that_does_not_fit_is_refused(
    make_campaign: MakeCampaign, table: str | bytes, complaint: str
) -> None:
    with pytest.raises(DispatcherError, match=complaint):
        rows(make_campaign(table, template="Hi {{ name }}, {{ code }}"))


def test_columns_without_a_name_are_passed_over(make_campaign: MakeCampaign) -> None:
    assert [job.to for job in jobs(make_campaign(f"to,name,,\n{ANA},Ana,,\n"))] == [ANA]


def test_recipients_that_are_not_there_are_one_sentence(make_campaign: MakeCampaign, tmp_path: Path) -> None:
    with pytest.raises(DispatcherError, match=r"gone\.csv cannot be read: no such file or directory"):
        rows(make_campaign("", recipients=tmp_path / "gone.csv"))


@given(
    st.lists(
        st.tuples(
            st.one_of(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.text(max_size=20)),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        )
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_either_a_job_or_rejected(make_campaign: MakeCampaign, people: list[tuple[str, str]]) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([("to", "name"), *people])

    found = rows(make_campaign(table.getvalue().encode("utf-8", "surrogatepass")))

    assert [row for row, _ in found] == list(range(1, len(people) + 1))
    for (to, name), (_, one) in zip(people, found, strict=True):
        if isinstance(one, Job):
            assert (one.to, one.body) == (to.strip(), f"Hi {name}")
        else:
            assert one.reason
