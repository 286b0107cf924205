import pytest

from dispatcher.cli.progress import showing_progress
from tests.clock import FakeClock


def test_without_a_terminal_there_is_a_line_every_few_seconds(
    clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with showing_progress(clock) as show:
        for done in range(0, 1001, 100):
            show("Publishing", done, 1000)
            clock.advance(1)

    assert capsys.readouterr().err.splitlines() == [
        "Publishing: 500 of 1,000 (50%), 100/s, 5 s left",
        "Publishing: 1,000 of 1,000 (100%), 100/s, 0 ms left",
    ]


def test_each_stage_has_its_own_pace(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress(clock) as show:
        show("Reading", 0, 1000)
        clock.advance(100)
        show("Publishing", 0, 1000)
        clock.advance(5)
        show("Publishing", 0, 1000)
        clock.advance(5)
        show("Publishing", 500, 1000)

    assert capsys.readouterr().err.splitlines() == [
        "Publishing: 0 of 1,000 (0%), 0/s, unknown left",
        "Publishing: 500 of 1,000 (50%), 50/s, 10 s left",
    ]


def test_a_stage_without_an_end_is_named_at_once(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress(clock) as show:
        show("Waiting", 0, 0)
        clock.advance(100)
        show("Waiting", 0, 0)

    assert capsys.readouterr().err == "Waiting ...\n"


def test_what_was_done_before_does_not_make_it_faster(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress(clock) as show:
        show("Publishing", 800, 1000)
        clock.advance(10)
        show("Publishing", 900, 1000)

    assert capsys.readouterr().err == "Publishing: 900 of 1,000 (90%), 10/s, 10 s left\n"
