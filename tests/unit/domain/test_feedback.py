import pytest

from dispatcher.domain.feedback import CUT_FOR, Deed


@pytest.mark.parametrize(
    ("text", "deed"),
    [
        ("suspend_sender 10min", Deed(what="suspend_sender", seconds=600)),
        ("rate x0.5", Deed(what="rate", factor=0.5, seconds=CUT_FOR)),
        ("rate x.25 1h", Deed(what="rate", factor=0.25, seconds=3600)),
        ("pause_campaign", Deed(what="pause_campaign")),
        ("alert", Deed(what="alert")),
    ],
)
def test_a_deed_is_read_as_it_is_written(text: str, deed: Deed) -> None:
    assert Deed.parse(text) == deed
    assert Deed.parse(str(deed).replace(" for ", " ").replace(" min", "min").replace(" h", "h")) == deed


@pytest.mark.parametrize(
    "text", ["", "pause", "suspend_sender", "suspend_sender soon", "suspend_sender 0s", "rate x1.5", "rate x0.0"]
)
def test_what_nobody_can_do_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        Deed.parse(text)
