from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.pacing.hierarchy import Hierarchy
from tests.unit.pacing.making import make_fleet, make_message, make_sender

NOW = 1000.0


def drive(rate: float, lateness: list[float]) -> list[tuple[float, float]]:
    """Send as many messages as there are *lateness*, which their answers have; return when each left and was answered.

    Whose answer would come after the next message leaves is answered right before that.
    """
    fleet = make_fleet([make_sender("72345", rate)])
    hierarchy = Hierarchy(fleet, weights=[1], queue_target=2.0, random=Random(1), hold=lambda *_: None)
    [lane] = hierarchy.lanes()
    now, sent = NOW, []
    for late_by in lateness:
        while (closed := lane.closed_gate(now)) is not None:
            now = closed[1]
        message = make_message()
        message.departed_at = now
        lane.take(message, now)
        answered_at = now + late_by
        lane.concurrency.answered(late_by, answered_at, healthy=True)
        lane.accept(message, answered_at, late_by)
        sent.append((now, answered_at))
    return sent


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.0])
def test_answers_that_are_late_by_less_than_a_slow_senders_second_has_to_spare_cost_no_rate(rate: float) -> None:
    sent = drive(rate, [0.7] * 50)
    assert sent[-1][0] - NOW <= 49 / (0.99 * rate)


@given(rate=st.sampled_from([0.25, 0.5, 1.0]), random=st.randoms())
def test_wherever_between_leaving_and_its_answer_a_slow_senders_message_arrived_no_second_holds_too_much(
    rate: float, random: Random
) -> None:
    sent = drive(rate, [random.choice((0.05, random.uniform(0, 0.99 / rate))) for _ in range(40)])
    arrived = sorted(random.uniform(left, answered) for left, answered in sent)
    for first, since in enumerate(arrived):
        assert sum(at < since + 1 for at in arrived[first:]) <= rate * 1.05 + 1
