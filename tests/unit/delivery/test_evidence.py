"""What in Twilio's list proves that a request which got no answer was processed."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.delivery.evidence import SLACK, Listed, find

listed = st.builds(
    Listed,
    sid=st.sampled_from(["SM1", "SM2", "SM3"]),
    body=st.sampled_from(["Hi", "Hello"]),
    age=st.floats(0, 100),
    segments=st.just(1),
    media=st.integers(0, 1),
)


@given(st.lists(listed, max_size=8, unique_by=lambda message: message.sid), st.floats(0, 90), st.sets(st.just("SM1")))
def test_the_oldest_that_this_request_can_have_made_is_its_message(
    messages: list[Listed], within: float, taken: set[str]
) -> None:
    fitting = [
        one
        for one in messages
        if (one.body, one.media) == ("Hi", 0) and one.sid not in taken and one.age <= within + SLACK
    ]
    found = find(messages, body="Hi", media=0, within=within, is_taken=taken.__contains__)
    assert found == max(fitting, key=lambda message: message.age, default=None)
