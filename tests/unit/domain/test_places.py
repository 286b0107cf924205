import phonenumbers
import pytest
from phonenumbers.geodata import GEOCODE_DATA

from dispatcher.domain.places import country_of, is_place, main_country, place_of


@pytest.mark.parametrize(
    ("number", "place"),
    [
        ("+12065550142", "US-WA"),
        ("+12125550142", "US-NY"),
        ("+17875550142", "US-PR"),
        ("+14165550142", "CA"),
        ("+18765550142", "JM"),
        ("+18005550142", "US"),
        ("+447700900123", "GB"),
        ("+353850000000", "IE"),
        ("+77012345678", "KZ"),
        ("+79012345678", "RU"),
        ("+883510000000", "001"),
    ],
)
def test_a_number_is_at_home_somewhere(number: str, place: str) -> None:
    assert place_of(number) == place
    assert is_place(place)
    assert country_of(place) == place[:2]


def test_every_area_code_that_is_known_elsewhere_is_known_here_alike() -> None:
    for prefix, names in GEOCODE_DATA.items():
        if len(prefix) == 4 and prefix[0] == "1":
            found = phonenumbers.region_codes_for_country_code(1)
            place = place_of(f"+{prefix}5550142")
            assert country_of(place) in found
            if "Washington State" in names.values():
                assert place == "US-WA"
            if "Ontario" in names.values():
                assert place == "CA"


def test_countries_that_share_a_calling_code_count_to_the_main_one() -> None:
    assert [main_country(code) for code in ("GG", "GB", "US", "JM", "VA", "KZ")] == ["GB", "GB", "US", "JM", "IT", "KZ"]


def test_what_no_number_tells_is_no_place() -> None:
    assert not any(map(is_place, ["GG", "US-XX", "default", "", "us", "XX"]))
