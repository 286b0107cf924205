import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.phone import is_alphanumeric, is_e164, is_service_sid, is_short_code, mask

e164 = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)


@pytest.mark.parametrize("number", ["+12065550142", "+442079460000", "+1234567", "+123456789012345"])
def test_an_e164_number_is_accepted(number: str) -> None:
    assert is_e164(number)


@pytest.mark.parametrize(
    "number",
    ["", "12065550142", "+02065550142", "+1 206 555 0142", "+1-206-555-0142", "+123456", "+1234567890123456",
     "+1206555014x", "+12065550142\n", "\n+12065550142", "+1206555014\u0662", "tel:+12065550142"],
)  # fmt: skip
def test_what_has_not_the_form_of_e164_is_refused(number: str) -> None:
    assert not is_e164(number)


@pytest.mark.parametrize(
    ("number", "is_one"),
    [
        ("72345", True),
        ("911", True),
        ("12345678", True),
        ("12", False),
        ("123456789", False),
        ("+72345", False),
        ("7234\u0665", False),
        ("72345\n", False),
    ],
)
def test_a_short_code_is_three_to_eight_digits(number: str, *, is_one: bool) -> None:
    assert is_short_code(number) is is_one


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("ACME", True), ("A1", True), ("Acme & Co", True), ("3M-Shop_+", True), ("elevenchars", True),
        ("A", False), ("12345", False), ("twelve chars", False), ("A*C", False), (" ACME", False), ("ACME ", False),
        ("ACM\u00c9", False), ("ACME\n", False), ("", False),
    ],
)  # fmt: skip
def test_letters_are_a_sender_of_two_to_eleven_of_them(name: str, *, is_one: bool) -> None:
    assert is_alphanumeric(name) is is_one


@pytest.mark.parametrize(
    ("name", "is_one"), [("MG" + "0a" * 16, True), ("MG" + "0" * 31, False), ("AC" + "0" * 32, False), ("72345", False)]
)
def test_a_service_is_known_by_its_sid(name: str, *, is_one: bool) -> None:
    assert is_service_sid(name) is is_one


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+12065550142", "+1206*****42"), ("72345", "72*45"), ("+1234567", "+1234*67"), ("911", "911"), ("", "")],
)
def test_a_number_is_masked_for_logs(number: str, shown: str) -> None:
    assert mask(number) == shown


@given(e164)
def test_a_mask_keeps_the_length_and_hides_the_middle(number: str) -> None:
    shown = mask(number)

    assert len(shown) == len(number)
    assert shown.count("*") == len(number) - 7
