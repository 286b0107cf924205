from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.suppression import (
    EVERYWHERE,
    Suppression,
    SuppressionScope,
    decode,
    encode,
    read_suppression_key,
    suppression_key,
)

NUMBER = "+12065550142"


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (EVERYWHERE, b"+12065550142"),
        (SuppressionScope("pool", "marketing"), b"+12065550142/pool/marketing"),
        (SuppressionScope("sender", "+18885550100"), b"+12065550142/sender/+18885550100"),
    ],
)
def test_a_key_names_the_recipient_and_what_is_meant(scope: SuppressionScope, key: bytes) -> None:
    assert suppression_key(NUMBER, scope) == key
    assert read_suppression_key(key) == (NUMBER, scope)


@given(st.sampled_from(("pool", "sender")), st.text(min_size=1).filter(lambda name: name.isprintable()))
def test_whatever_a_pool_is_called_its_key_can_be_read(reach: Literal["pool", "sender"], name: str) -> None:
    scope = SuppressionScope(reach, name)
    assert read_suppression_key(suppression_key(NUMBER, scope)) == (NUMBER, scope)


@pytest.mark.parametrize(
    "key",
    [b"", b"12065550142", b"+1206555014x", b"+12065550142/", b"+12065550142/pool", b"+12065550142/pool/",
     b"+12065550142/brand/acme", b"\xff"],
)  # fmt: skip
def test_what_is_no_key_is_none(key: bytes) -> None:
    assert read_suppression_key(key) is None


def test_a_value_comes_back_as_it_was() -> None:
    suppression = Suppression(
        scope="global", reason="opt_out", since="2026-11-24T18:00:00.000+00:00", source="STOP to 72345"
    )
    assert decode(encode(suppression)) == suppression
