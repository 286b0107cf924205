"""`dispatcher bench` as a user runs it: a real Kafka, the stand-in or a Twilio of the test's, and the report."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.stage import MAIN, PROMO, Stage, open_stage, until
from tests.integration.bench.twilio import LIVE, TEST, answering

pytestmark = [pytest.mark.kafka, pytest.mark.system]

FLEET: dict[str, Any] = {
    "accounts": {"main": MAIN, "promo": PROMO},
    "senders": [
        {"number": "72345", "kind": "short_code", "account": "main", "rate": "40/s"},
        {"number": "+12065550100", "kind": "long_code", "account": "promo", "a2p_campaign": "promo-10dlc"},
    ],
    "brands": {"acme": {}},
    "a2p_campaigns": {
        "promo-10dlc": {
            "brand": "acme",
            "rates": {"att": "10/s", "tmobile": "10/s", "verizon": "10/s", "other": "5/s"},
        }
    },
    "pools": {"marketing": {"senders": ["72345", "+12065550100"]}},
}


async def start(stage: Stage, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dispatcher", "bench", "-c", str(stage.config_file), *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def bench(stage: Stage, *arguments: str) -> tuple[int | None, str, str]:
    """Run it to its end; return its exit code, and what it printed and said."""
    process = await start(stage, *arguments)
    printed, said = await process.communicate()
    return process.returncode, printed.decode(), said.decode()


async def left_behind(kafka: str) -> list[str]:
    """Return the topics and groups of rehearsals that are still there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        groups = [group[0] for group in await admin.list_consumer_groups()]
        return [name for name in (*await admin.list_topics(), *groups) if name.startswith("dispatcher-bench")]
    finally:
        await admin.close()


async def test_a_config_that_holds_reaches_its_rates_and_leaves_nothing_behind(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, **FLEET) as stage:
        before = await stage.count(stage.topic())
        code, printed, said = await bench(stage, "--seconds", "8", "--json")
        report = json.loads(printed)
        assert (code, report["advice"], report["troubles"]) == (0, [], []), said
        assert report["against"] == "Twilio's stand-in"
        assert report["overruns_judged"]
        assert f"Nobody answers at {stage.simulator_url}: starting Twilio's stand-in there" in said
        flows = {flow["name"]: flow for flow in report["flows"]}
        assert flows.keys() == {
            *("72345", "promo-10dlc/att", "promo-10dlc/tmobile", "promo-10dlc/verizon", "promo-10dlc/other"),
            *("main", "promo", "marketing"),
        }
        for flow in flows.values():
            # A message of three segments at each end is chance.
            assert abs(flow["reached"] - flow["configured"]) <= 0.03 * flow["configured"] + 0.6, flow
            assert flow["bound_by"] == "sender"
        assert report["urgent"]["messages"] > 0
        assert await stage.count(stage.topic()) == before
        assert await left_behind(kafka) == []


async def test_an_account_below_what_its_senders_need_is_named_with_the_key_to_change(
    kafka: str, tmp_path: Path
) -> None:
    accounts = {"main": MAIN, "promo": {**PROMO, "rate": "5/s"}}
    async with open_stage(tmp_path, kafka, **{**FLEET, "accounts": accounts}) as stage:
        code, printed, said = await bench(stage, "--seconds", "5")
        assert code == 2, said
        assert "Change accounts.promo.rate: the senders of account promo would need" in printed
        rows = {line.split("  ")[0]: line for line in printed.splitlines()}
        assert "own rate" in rows["72345"]
        for name in ("promo-10dlc/att", "account promo", "pool marketing"):
            assert "account's rate" in rows[name], name


async def test_ctrl_c_ends_it_with_what_was_measured_so_far(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, **FLEET) as stage:
        await stage.start_simulator()
        process = await start(stage, "--seconds", "600", "--json")

        async def it_is_well_under_way() -> bool:
            return bool((await stage.report())["senders"]["72345"]["segments"] > 40 * 9)

        await until(it_is_well_under_way, within=60, what="9 s of the short code")
        process.send_signal(signal.SIGINT)
        printed, said = await process.communicate()
        report = json.loads(printed)
        assert process.returncode == 0, said
        assert 2 <= report["seconds"] < 60
        assert await left_behind(kafka) == []


async def test_with_test_credentials_everything_is_sent_from_the_number_that_they_know(
    kafka: str, tmp_path: Path
) -> None:
    async with (
        answering(*TEST) as twilio,
        open_stage(tmp_path, kafka, **FLEET, twilio={"base_url": twilio.url}) as stage,
    ):
        code, printed, said = await bench(stage, "--seconds", "5", "--json")
        report = json.loads(printed)
        assert report["against"] == "Twilio, with test credentials", said
        assert not report["overruns_judged"]
        # That Twilio counts every message as one segment.
        assert code in {0, 2}
        assert {sent["From"] for sent in twilio.sent} == {"+15005550006"}
        assert all(sent["To"][5:8] == "555" and "StatusCallback" not in sent for sent in twilio.sent)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "text people; rehearse with Twilio's test credentials, or against the stand-in"),
        (("--live",), "--live texts people for real; say whom with --recipients FILE"),
    ],
)
async def test_live_credentials_are_refused(kafka: str, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    async with (
        answering(*LIVE) as twilio,
        open_stage(tmp_path, kafka, **FLEET, twilio={"base_url": twilio.url}) as stage,
    ):
        code, printed, said = await bench(stage, *options)
        assert (code, printed) == (2, "")
        assert said.startswith("dispatcher: ")
        assert says in said
        assert twilio.sent == []


async def test_live_credentials_text_those_whom_the_user_names_and_nobody_else(kafka: str, tmp_path: Path) -> None:
    named = [f"+1206555{line}" for line in range(1000, 1040)]
    file = tmp_path / "colleagues.csv"
    file.write_text("to\n" + "\n".join(named) + "\n", encoding="utf-8")
    async with (
        answering(*LIVE) as twilio,
        open_stage(tmp_path, kafka, **FLEET, twilio={"base_url": twilio.url}) as stage,
    ):
        stage.config["pools"] = {"marketing": {"senders": ["72345"]}}
        stage.write_config()
        _, printed, said = await bench(stage, "--live", "--recipients", str(file), "--seconds", "20", "--json")
        assert json.loads(printed)["against"] == "Twilio, for real", said
        texted = [sent["To"] for sent in twilio.sent]
        assert len(set(texted)) == len(texted)
        assert set(texted) <= set(named)
        assert len(texted) >= 38  # urgent ones come over the time, which ends when nothing is left to send
        assert {sent["From"] for sent in twilio.sent} == {"72345"}
