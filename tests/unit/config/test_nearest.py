import pytest

from dispatcher.config.nearest import suggestion


@pytest.mark.parametrize(
    ("word", "right", "sentence"),
    [
        ("mian", ["main", "promo"], 'did you mean "main"?'),
        ("MAIN", ["main", "promo"], 'did you mean "main"?'),
        ("other", ["main", "promo"], 'there are "main", "promo"'),
        ("other", ["main", "main"], 'there is "main"'),
        ("other", [], "there is none yet"),
        ("x", [f"{n:02}" for n in range(20)], "there are " + ", ".join(f'"{n:02}"' for n in range(12)) + ", ..."),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(word: str, right: list[str], sentence: str) -> None:
    assert suggestion(word, right) == sentence
