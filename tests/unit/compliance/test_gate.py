from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.compliance.gate import ComplianceGate, has_expired
from dispatcher.compliance.objections import Objection
from dispatcher.compliance.quiet_hours import QuietHours
from dispatcher.compliance.suppression import SuppressionList
from dispatcher.domain.job import MAX_BODY_CHARACTERS, Job
from dispatcher.domain.quiet_hours import QuietHoursSettings

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
GATE = ComplianceGate(suppressions=SuppressionList(), quiet_hours=QuietHours(QuietHoursSettings(), reserve=21))


def first_objection(job: Job, now: datetime) -> Objection | None:
    objection = GATE.first_objection(job, now)
    assert objection is None or isinstance(objection, Objection)
    return objection


def job(*, body: str | None = "Hi", media: tuple[str, ...] = (), expires_at: datetime | None = None) -> Job:
    return Job(id="1", campaign="c", to="+12065550142", pool="all", body=body, media_urls=media, expires_at=expires_at)


@given(seconds=st.floats(-1e6, 1e6), hours=st.integers(-14, 14))
def test_a_job_has_expired_from_its_very_time_on(seconds: float, hours: int) -> None:
    expires_at = (NOW + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))
    objection = first_objection(job(expires_at=expires_at), NOW)
    assert (objection is not None) is (expires_at <= NOW)
    if objection is not None:
        assert objection.status == "expired"
        assert objection == has_expired(job(expires_at=expires_at), NOW)
        assert expires_at.isoformat() in objection.reason


@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_the_ends_of_time_are_times_too(hours: int) -> None:
    there = timezone(timedelta(hours=hours))
    assert first_objection(job(expires_at=datetime(1, 1, 1, tzinfo=there)), NOW) is not None
    assert first_objection(job(expires_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=there)), NOW) is None


@pytest.mark.parametrize("character", ["x", "я", "😀"])
def test_twilio_takes_so_many_characters_and_no_more(character: str) -> None:
    assert first_objection(job(body=character * MAX_BODY_CHARACTERS), NOW) is None
    objection = first_objection(job(body=character * (MAX_BODY_CHARACTERS + 1)), NOW)
    assert objection is not None
    assert objection.status == "refused"
    assert "1601" in objection.reason
    assert "1600" in objection.reason
    assert character * 3 not in objection.reason


@pytest.mark.parametrize("body", ["", " ", "\n\t \u2003"])
def test_nobody_is_texted_nothing(body: str) -> None:
    objection = first_objection(job(body=body), NOW)
    assert objection is not None
    assert objection.status == "refused"
    assert first_objection(job(body=body, media=("https://example.com/a.png",)), NOW) is None


def test_media_need_no_body() -> None:
    assert first_objection(job(body=None, media=("https://example.com/a.png",)), NOW) is None


def test_of_several_objections_the_first_wins() -> None:
    objection = first_objection(job(body="x" * 2000, expires_at=NOW), NOW)
    assert objection is not None
    assert objection.status == "expired"
