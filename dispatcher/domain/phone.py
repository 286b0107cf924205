"""Phone numbers: their form, and how they are shown."""

import re

# E.164: a plus, then up to 15 digits of which the first is not zero (ITU-T E.164, section 6.2.1).
E164_PATTERN = r"\A\+[1-9][0-9]{6,14}\Z"
SHORT_CODE_PATTERN = r"\A[0-9]{3,8}\Z"
_E164 = re.compile(E164_PATTERN)
_SHORT_CODE = re.compile(SHORT_CODE_PATTERN)
# https://www.twilio.com/docs/api/errors/21709, and the AlphaSender resource for the four signs.
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9&+_-][A-Za-z0-9 &+_-]{0,9}[A-Za-z0-9&+_-]")
SERVICE_SID_PATTERN = "MG[0-9a-fA-F]{32}"
_SERVICE_SID = re.compile(SERVICE_SID_PATTERN)


def is_e164(number: str) -> bool:
    """Say whether *number* has the form `+12065550142`."""
    return _E164.match(number) is not None


def is_short_code(number: str) -> bool:
    """Say whether *number* has the form of a short code: 3 to 8 digits without a plus."""
    return _SHORT_CODE.match(number) is not None


def is_alphanumeric(name: str) -> bool:
    """Say whether *name* has the form of an alphanumeric sender: 2 to 11 letters, digits, spaces, `&`, `+`, `-`, `_`.

    One of them has to be a letter.
    """
    return _ALPHANUMERIC.fullmatch(name) is not None


def is_service_sid(name: str) -> bool:
    """Say whether *name* has the form of a Messaging Service's SID."""
    return _SERVICE_SID.fullmatch(name) is not None


def mask(number: str) -> str:
    """Return *number* fit for a log: `+12065550142` becomes `+1206*****42`."""
    shown = 5 if number.startswith("+") else 2
    return number[:shown] + "*" * max(0, len(number) - shown - 2) + number[max(shown, len(number) - 2) :]


# Country calling codes of one and two digits (ITU-T E.164, list of assigned codes); every other one has three.
_ONE_DIGIT = frozenset("17")
_TWO_DIGITS = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


def country_prefix(number: str) -> str:
    """Return the country calling code of an E.164 *number* with its plus: `+1`, `+44`, `+353`."""
    if number[1] in _ONE_DIGIT:
        return number[:2]
    return number[:3] if _TWO_DIGITS.match(number, 1) else number[:4]
