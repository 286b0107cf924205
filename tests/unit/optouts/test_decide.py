from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
import pytest

from dispatcher.domain.fleet import Pool
from dispatcher.domain.suppression import SuppressionReach
from dispatcher.optouts.decide import CALLED_DEAD, DEAD_NUMBERS, Decider, Entry, read_callback, read_result

AT = datetime(2026, 11, 24, 18, tzinfo=UTC)
ANA = "+12065550142"
POOLS = (
    Pool(name="marketing", senders=("72345", "+18885550100")),
    Pool(name="news", senders=("72345",)),
    Pool(name="otp", senders=("+18885550100",)),
)


def inbound(word: str | None, to: str = "72345", sender: str = ANA, at: datetime = AT) -> bytes:
    return orjson.dumps(
        {"kind": "inbound", "received_at": at.isoformat(), "parameters": {"From": sender, "To": to}}
        | ({"word": word} if word else {})
    )


def status(code: int | None, kind: str = "status", at: datetime = AT, **changed: Any) -> bytes:
    parameters = {"From": changed.pop("sender", "72345"), "To": changed.pop("to", ANA)}
    known = {"kind": kind, "received_at": at.isoformat(), "parameters": parameters, "error_code": code, "sid": "SM1"}
    return orjson.dumps(known | changed)


def result(code: int | None, at: datetime = AT) -> bytes:
    return orjson.dumps({"id": "m1", "to": ANA, "sender": "72345", "code": code, "at": at.isoformat()})


def keys(entries: list[Entry]) -> list[str]:
    return [entry.key.decode() for entry in entries]


def value(entry: Entry) -> dict[str, Any]:
    assert entry.value is not None
    found: dict[str, Any] = orjson.loads(entry.value)
    return found


@pytest.mark.parametrize(
    ("reach", "to", "expected"),
    [
        ("global", "72345", [ANA]),
        ("pool", "72345", [f"{ANA}/pool/marketing", f"{ANA}/pool/news"]),
        ("pool", "+18885550100", [f"{ANA}/pool/marketing", f"{ANA}/pool/otp"]),
        ("pool", "+12065550199", [f"{ANA}/sender/+12065550199"]),
        ("sender", "72345", [f"{ANA}/sender/72345"]),
        ("sender", "", [ANA]),
        ("pool", "", [ANA]),
    ],
)
def test_a_stop_reaches_as_far_as_the_config_says_and_a_start_as_far(
    reach: SuppressionReach, to: str, expected: list[str]
) -> None:
    decider = Decider(reach, POOLS)
    stopped = decider.hear(read_callback(inbound("stop", to)))
    assert keys(stopped) == expected
    assert {value(entry)["reason"] for entry in stopped} == {"opt_out"}
    started = decider.hear(read_callback(inbound("start", to)))
    assert started == [Entry(entry.key, None) for entry in stopped]


SERVICE = "MG" + "5" * 32


@pytest.mark.parametrize(
    ("reach", "to", "service", "expected"),
    [
        ("pool", "+14155550123", SERVICE, [f"{ANA}/pool/club"]),
        ("sender", "+14155550123", SERVICE, [f"{ANA}/sender/{SERVICE}"]),
        # The number is a sender by itself.
        ("sender", "72345", SERVICE, [f"{ANA}/sender/72345"]),
        # The config knows nothing of that service.
        ("sender", "+14155550123", "MG" + "6" * 32, [f"{ANA}/sender/+14155550123"]),
    ],
)
def test_what_is_said_to_a_number_of_a_service_is_said_to_the_service(
    reach: SuppressionReach, to: str, service: str, expected: list[str]
) -> None:
    decider = Decider(reach, (*POOLS, Pool(name="club", senders=(SERVICE,))))
    stop = orjson.loads(inbound("stop", to))
    stop["parameters"]["MessagingServiceSid"] = service
    assert keys(decider.hear(read_callback(orjson.dumps(stop)))) == expected
    told = orjson.loads(status(21610))
    told["parameters"] |= {"From": to, "MessagingServiceSid": service}
    assert keys(decider.hear(read_callback(orjson.dumps(told)))) == expected


def test_an_opt_out_says_since_when_and_whence() -> None:
    (entry,) = Decider("pool", POOLS[1:2]).hear(read_callback(inbound("stop")))
    assert value(entry) == {
        "scope": "pool",
        "name": "news",
        "reason": "opt_out",
        "since": "2026-11-24T18:00:00.000+00:00",
        "source": "STOP to 72345",
    }


@pytest.mark.parametrize("word", ["help", None])
def test_other_messages_change_nothing(word: str | None) -> None:
    assert Decider("global", POOLS).hear(read_callback(inbound(word))) == []


@pytest.mark.parametrize("sender", ["72999", "whatsapp:+12065550142", ""])
def test_who_has_no_number_cannot_be_texted_anyway(sender: str) -> None:
    decider = Decider("global", POOLS)
    assert decider.hear(read_callback(inbound("stop", sender=sender))) == []
    assert decider.hear(read_callback(inbound("start", sender=sender))) == []


@pytest.mark.parametrize("code", sorted(DEAD_NUMBERS))
@pytest.mark.parametrize("reach", ["global", "pool"])
def test_a_dead_number_is_dead_for_everybody(reach: SuppressionReach, code: int) -> None:
    decider = Decider(reach, POOLS)
    for entries in (
        decider.conclude(read_result(result(code))),
        decider.hear(read_callback(status(code))),
        decider.hear(read_callback(status(code, "polled"))),
    ):
        assert keys(entries) == [ANA]
        assert (value(entries[0])["reason"], value(entries[0])["source"]) == ("dead_number", f"error {code}")


def called_dead(decider: Decider, *said: tuple[str, int | None, str], **changed: Any) -> list[str]:
    """Return the keys that follow from what was said of messages, each by SID, code and status."""
    found: list[Entry] = []
    for sid, code, name in said:
        found += decider.hear(read_callback(status(code, sid=sid, status=name, **changed)))
    assert {value(entry)["reason"] for entry in found} <= {"dead_number"}
    return keys(found)


@pytest.mark.parametrize("code", sorted(CALLED_DEAD))
def test_a_number_that_carriers_call_dead_twice_is_dead(code: int) -> None:
    decider = Decider("global", POOLS)
    first, second = ("SM1", code, "undelivered"), ("SM2", code, "undelivered")
    # The same callback comes more than once.
    assert called_dead(decider, first, first, sender="+18885550100") == []
    assert called_dead(decider, second, sender="+18885550100") == [ANA]
    assert called_dead(decider, second, to="+12065550143", sender="+18885550100") == []
    assert called_dead(decider, first, second, to="72999", sender="+18885550100") == []


def test_a_message_that_arrives_in_between_proves_carriers_wrong() -> None:
    decider = Decider("global", POOLS)
    dead, alive = ("SM1", 30005, "undelivered"), ("SM2", None, "delivered")
    assert called_dead(decider, dead, alive, ("SM3", 30005, "undelivered")) == []
    assert called_dead(decider, ("SM4", 30005, "undelivered")) == [ANA]
    # That it was sent proves nothing.
    decider = Decider("global", POOLS)
    assert called_dead(decider, dead, ("SM2", None, "sent"), ("SM3", 30005, "undelivered")) == [ANA]


def test_what_a_short_code_does_not_reach_is_left_to_others() -> None:
    decider = Decider("global", POOLS)
    first, second = ("SM1", 30006, "undelivered"), ("SM2", 30006, "undelivered")
    assert called_dead(decider, first, second) == [f"{ANA}/sender/72345"]
    # What one says of a short code is no second word about the number.
    assert called_dead(decider, ("SM3", 30006, "undelivered"), sender="+18885550100") == []
    assert called_dead(decider, ("SM4", None, "delivered"), ("SM5", 30006, "undelivered")) == []


def test_the_memory_of_who_was_called_dead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.optouts.decide._REMEMBERED", 10)
    decider = Decider("global", POOLS)
    for number in range(100):
        called_dead(decider, ("SM1", 30005, "undelivered"), to=f"+120655501{number:02d}")
    assert len(decider._called_dead) == 10


@pytest.mark.parametrize("code", [None, 0, 30003, 30007, 30008, 21611, 30004])
def test_what_may_go_well_another_time_changes_nothing(code: int | None) -> None:
    decider = Decider("global", POOLS)
    assert decider.conclude(read_result(result(code))) == []
    assert decider.hear(read_callback(status(code))) == []


def test_an_opt_out_that_twilio_knows_of_is_one_of_ours() -> None:
    entries = Decider("sender", POOLS).conclude(read_result(result(21610)))
    assert keys(entries) == [f"{ANA}/sender/72345"]
    assert (value(entries[0])["reason"], value(entries[0])["source"]) == ("opt_out", "error 21610")


def test_what_is_heard_late_does_not_undo_what_was_said_later() -> None:
    decider = Decider("global", POOLS)
    later = AT + timedelta(seconds=5)
    assert keys(decider.hear(read_callback(inbound("stop", at=later)))) == [ANA]
    assert decider.hear(read_callback(inbound("start"))) == []
    decider = Decider("global", POOLS)
    assert decider.hear(read_callback(inbound("start", at=later))) == [Entry(ANA.encode(), None)]
    assert decider.hear(read_callback(inbound("stop"))) == []
    assert decider.conclude(read_result(result(21610))) == []
    # What comes twice is the same to the end.
    assert decider.hear(read_callback(inbound("start", at=later))) == [Entry(ANA.encode(), None)]


def test_the_memory_of_latest_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.optouts.decide._REMEMBERED", 10)
    decider = Decider("global", POOLS)
    for number in range(100):
        decider.hear(read_callback(inbound("stop", sender=f"+120655501{number:02d}")))
    assert len(decider._latest) == 10


def test_whose_word_was_heard_lately_is_not_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.optouts.decide._REMEMBERED", 10)
    decider = Decider("global", POOLS)
    later = AT + timedelta(seconds=5)
    for number in [ANA, *(f"+120655501{number:02d}" for number in range(9)), ANA, "+12065550190"]:
        decider.hear(read_callback(inbound("stop", sender=number, at=later)))
    assert decider.hear(read_callback(inbound("start"))) == []


def test_of_what_is_no_number_nothing_is_written() -> None:
    told = orjson.loads(result(21614)) | {"to": "72999"}
    assert Decider("global", POOLS).conclude(read_result(orjson.dumps(told))) == []


@pytest.mark.parametrize("read", [read_callback, read_result])
@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"kind": 1}', b"\xff"])
def test_what_is_no_record_is_said(read: Any, value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(value)
