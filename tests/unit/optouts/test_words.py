import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.optouts.words import WORDS, Spoken, read_type, read_word


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("write", [str.lower, str.upper, str.title, " {}\n".format, "'{}'!".format, "{}...".format])
def test_a_word_is_known_however_it_is_written(word: str, write: "type[str]") -> None:
    assert read_word(write(word)) == WORDS[word]


# As Twilio's pages list them (`dispatcher.optouts.words`).
@pytest.mark.parametrize(
    ("words", "spoken"),
    [
        ("STOP STOPALL UNSUBSCRIBE UNSUB CANCEL END QUIT OPTOUT REVOKE", Spoken("stop", "en")),
        ("ARRET ARRETE ARRETT", Spoken("stop", "fr")),
        ("START YES UNSTOP", Spoken("start", "en")),
        ("HELP INFO", Spoken("help", "en")),
        ("AIDE", Spoken("help", "fr")),
    ],
)
def test_twilios_words_mean_what_they_mean_to_twilio(words: str, spoken: Spoken) -> None:
    assert {read_word(word) for word in words.split()} == {spoken}


@pytest.mark.parametrize(
    ("body", "spoken"),
    [
        ("STOP ALL", Spoken("stop", "en")),
        ("opt-out", Spoken("stop", "en")),
        ("Opt Out.", Spoken("stop", "en")),
        ("ARRÊT", Spoken("stop", "fr")),
        ("arre\u0302ter", Spoken("stop", "fr")),
        ("\uff33\uff34\uff2f\uff30", Spoken("stop", "en")),
        ("Info?", Spoken("help", "en")),
        ("Yes 🙂", Spoken("start", "en")),
    ],
)
def test_accents_spaces_and_signs_are_passed_over(body: str, spoken: Spoken) -> None:
    assert read_word(body) == spoken


# Twilio obeys words that stand alone, and no others; whoever reads the rest is a person.
@pytest.mark.parametrize("body", ["", "   ", "stop please", "don't stop", "nonstop", "the end", "yes I am", "no", "停"])
def test_a_sentence_is_no_word(body: str) -> None:
    assert read_word(body) is None


@given(st.text(max_size=200))
def test_nothing_that_people_write_does_harm(body: str) -> None:
    read_word(body)


def test_what_is_long_is_not_looked_at() -> None:
    assert read_word("stop" + " " * 100_000) is None


@pytest.mark.parametrize(
    ("name", "word"), [("STOP", "stop"), ("START", "start"), ("HELP", "help"), ("", None), (None, None)]
)
def test_what_twilio_found_it_to_be_is_read(name: str | None, word: str | None) -> None:
    assert read_type(name) == word
