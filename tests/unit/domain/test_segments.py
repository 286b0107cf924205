import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.segments import count_segments, encoding_of

ORACLE = Path(__file__).parents[2] / "fixtures" / "segments.jsonl.gz"
GSM7 = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./09:;<=>?¡AZÄÖÑÜ§¿azäöñüà"
EXTENDED = "\f^{}\\[~]|€"


def test_agrees_with_twilios_own_calculator_on_ten_thousand_texts() -> None:
    with gzip.open(ORACLE, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]

    wrong = [
        text
        for text in texts
        if (count_segments(text["text"]), encoding_of(text["text"])) != (text["segments"], text["encoding"])
    ]

    assert len(texts) == 10_000
    assert wrong == []


@pytest.mark.parametrize(
    ("body", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1600, 11),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("é" * 160, 1),
        ("ê" * 70, 1),
        ("ê" * 71, 2),
        ("ê" * 134, 2),
        ("ê" * 135, 3),
        ("ê" * 1600, 24),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_counts_at_the_boundaries(body: str, segments: int) -> None:
    assert count_segments(body) == segments


@pytest.mark.parametrize("character", "`\u2019“…çíê\t\0漢😀")
def test_one_character_outside_gsm7_turns_the_whole_text_into_ucs2(character: str) -> None:
    assert encoding_of("a" * 70 + character) == "UCS-2"
    assert count_segments("a" * 70 + character) == 2


@pytest.mark.parametrize("character", GSM7 + EXTENDED)
def test_the_gsm7_alphabet_stays_in_gsm7(character: str) -> None:
    assert encoding_of(character) == "GSM-7"


def test_an_escaped_character_is_never_split_over_two_parts() -> None:
    # The euro sign would lie on septets 153 and 154, so the first part ends after 152.
    assert count_segments("a" * 152 + "€" + "a" * 151) == 2
    assert count_segments("a" * 152 + "€" + "a" * 152) == 3


@pytest.mark.parametrize("whole", ["😀", "👍🏿", "🇺🇸", "❤\ufe0f", "👩\u200d🚀", "e\u0301", "नि", "\u1112\u1161\u11ab"])
def test_what_reads_as_one_character_is_never_split_over_two_parts(whole: str) -> None:
    units = len(whole.encode("utf-16-le")) // 2
    # One unit is left in the first part, so all of it moves to the second, which is then full.
    assert count_segments("ж" * 66 + whole + "ж" * (67 - units)) == 2
    assert count_segments("ж" * 66 + whole + "ж" * (68 - units)) == 3


def test_a_character_that_no_part_could_hold_is_cut_after_all() -> None:
    # Twilio's calculator puts all 200 units into one part here, which 140 octets cannot hold.
    assert count_segments("Z" + "\u0337" * 199) == 3
    # Unit 67 is the first half of a surrogate pair, so the part ends after 66.
    assert count_segments("👩\u200d" * 44 + "👩") == 3


def test_a_lone_surrogate_counts_as_one_unit() -> None:
    assert count_segments("\ud83d" * 71) == 2


@given(st.text(alphabet=st.one_of(st.sampled_from(GSM7 + EXTENDED), st.characters()), max_size=600))
def test_no_text_needs_more_octets_than_its_segments_have(body: str) -> None:
    segments = count_segments(body)
    if encoding_of(body) == "GSM-7":
        units, alone, each = len(body) + sum(body.count(character) for character in EXTENDED), 160, 153
    else:
        units, alone, each = len(body.encode("utf-16-le", "surrogatepass")) // 2, 70, 67

    assert units <= (alone if segments == 1 else segments * each)
    assert (segments == 1) == (units <= alone)


@given(st.text(EXTENDED + "ab漢😀👍🏽", max_size=400), st.text(EXTENDED + "ab漢😀👍🏽", max_size=9))
def test_a_longer_text_never_takes_fewer_segments(body: str, more: str) -> None:
    if encoding_of(body) == encoding_of(body + more):
        assert count_segments(body + more) >= count_segments(body)
