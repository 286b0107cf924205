"""Messages with media through a pipeline: by whom they go, and what becomes of those that wait when that changes."""

from urllib.parse import parse_qs

from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import Verdict
from dispatcher.domain.control import Order, SenderRecord
from dispatcher.domain.fleet import Fleet
from tests.unit.engine.stage import Stage, accepted, declined
from tests.unit.pacing.making import make_fleet, make_sender

MEDIA = ["https://example.com/a.png"]


def fleet_of(first: float | None, second: float | None, texts: float = 100) -> Fleet:
    """Return two senders with so many messages with media a second; None carries none."""
    return make_fleet([make_sender("72345", texts, mms=first), make_sender("72346", texts, mms=second)])


def fill(stage: Stage, media: int, texts: int = 0) -> None:
    for place in range(media + texts):
        stage.receive(media_urls=MEDIA if place < media else [])


def media_by(stage: Stage, number: str) -> int:
    forms = [parse_qs(request.form.decode()) for request in stage.sent]
    return sum(form["From"] == [number] and "MediaUrl" in form for form in forms)


def test_media_and_texts_of_a_sender_do_not_wait_for_each_other() -> None:
    stage = Stage(make_fleet([make_sender("72345", 50, mms=10)]), latency=0.02)
    fill(stage, 100, 500)
    stage.run(4)
    assert 39 <= media_by(stage, "72345") <= 41
    assert 195 <= len(stage.sent) - media_by(stage, "72345") <= 201


def test_a_changed_rate_of_media_holds_and_leaves_texts_alone() -> None:
    stage = Stage(make_fleet([make_sender("72345", 50, mms=10)]), latency=0.02)
    fill(stage, 200, 500)
    stage.run(2)
    before, sent = media_by(stage, "72345"), len(stage.sent)
    stage.adopt(make_fleet([make_sender("72345", 50, mms=30)]))
    stage.run(2)
    left = media_by(stage, "72345") - before
    assert 56 <= left <= 61
    assert 96 <= len(stage.sent) - sent - left <= 102


def test_what_waits_for_a_sender_that_carries_media_no_more_goes_by_another() -> None:
    stage = Stage(fleet_of(10, 10), latency=0.02)
    fill(stage, 100)
    stage.run(1)
    before = media_by(stage, "72345")
    assert before
    stage.adopt(fleet_of(None, 100))
    stage.run(3)
    assert media_by(stage, "72345") <= before + 1, "one may have been announced, and in flight"
    assert [result.status for result in stage.results] == ["accepted"] * 100


def test_where_nobody_carries_media_any_more_what_waits_is_refused_with_the_reason() -> None:
    stage = Stage(fleet_of(10, 10), latency=0.02)
    fill(stage, 40)
    stage.run(1)
    stage.adopt(fleet_of(None, None))
    stage.run(2)
    refused = [result for result in stage.results if result.status == "refused"]
    assert len(stage.results) == 40
    assert all(str(result.reason).startswith("no sender of pool 'all' can send media") for result in refused)
    assert len(refused) >= 15


def test_a_suspended_sender_sends_no_media_either() -> None:
    stage = Stage(fleet_of(10, 10), latency=0.02)
    fill(stage, 100, 100)
    stage.run(1)
    stage.pipeline.senders.obey("72345", SenderRecord(suspension=Order(by="ana", at=stage.clock.now())))
    before = media_by(stage, "72345")
    stage.run(10)
    assert media_by(stage, "72345") == before
    assert len(stage.results) == 200


def test_a_sender_that_twilio_calls_unable_rests_for_texts_and_media_alike() -> None:
    def twilio(request: Request) -> Verdict:
        form = parse_qs(request.form.decode())
        return declined(21606) if form["From"] == ["72345"] else accepted(request)

    stage = Stage(fleet_of(40, 40), latency=0.02, twilio=twilio)
    fill(stage, 20, 20)
    stage.run(3)
    assert [result.status for result in stage.results] == ["accepted"] * 40
    assert {result.sender for result in stage.results} == {"72346"}
    tried = sum(parse_qs(request.form.decode())["From"] == ["72345"] for request in stage.sent)
    assert 1 <= tried <= 12, "those in flight, and no more"
