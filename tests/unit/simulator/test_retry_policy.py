import pytest

from dispatcher.simulator.retry_policy import Failure, RetryPolicy, read_policy


@pytest.mark.parametrize(
    ("fragment", "retries", "failures"),
    [
        ("", 1, {"ct"}),
        ("rc=3", 3, {"ct"}),
        ("rc=5&rp=all", 5, {"ct", "rt", "4xx", "5xx"}),
        ("rc=2&rp=4xx,5xx", 2, {"4xx", "5xx"}),
        ("rp=rt&rc=0", 0, {"rt"}),
        ("rc=99", 5, {"ct"}),
        ("rc=many&rp=never", 1, set()),
    ],
)
def test_the_fragment_says_when_to_try_again(fragment: str, retries: int, failures: set[Failure]) -> None:
    assert read_policy(fragment) == RetryPolicy(retries, frozenset(failures))
