import pytest
from twilio.request_validator import RequestValidator

from dispatcher.domain.fleet import Account, Secret
from dispatcher.webhooks.callbacks import Form
from dispatcher.webhooks.signature import Signatures

PUBLIC_URL = "https://mycompany.com"
MAIN = Account(name="main", sid="AC" + "1" * 32, auth_token=Secret("12345"))
PROMO = Account(name="promo", sid="AC" + "2" * 32, auth_token=Secret("67890"), parent="main")
TARGET = "/twilio/status?mid=spring-1&a=1"
FIELDS = {"AccountSid": MAIN.sid, "MessageSid": "SM1", "MessageStatus": "sent", "MessagingServiceSid": ""}


@pytest.fixture
def signatures() -> Signatures:
    return Signatures([MAIN, PROMO], PUBLIC_URL)


def form(fields: dict[str, str]) -> Form:
    return Form("&".join(f"{name}={value}" for name, value in fields.items()))


def sign(account: Account, fields: dict[str, str] = FIELDS, url: str = PUBLIC_URL + TARGET) -> str:
    return str(RequestValidator(account.auth_token.reveal()).compute_signature(url, fields))


def test_the_vector_of_twilios_documentation_fits() -> None:
    # https://www.twilio.com/docs/usage/security; the account's SID is ours to add, as a call has none in the vector.
    text = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
    validator = RequestValidator("12345")
    signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert validator.validate("https://mycompany.com/myapp.php?foo=1&bar=2", Form(text), signature)
    assert not validator.validate("https://mycompany.com/myapp.php?foo=1&bar=3", Form(text), signature)


def test_each_account_signs_with_its_own_token(signatures: Signatures) -> None:
    for account, other in ((MAIN, PROMO), (PROMO, MAIN)):
        fields = {**FIELDS, "AccountSid": account.sid}
        assert signatures.signer(TARGET, form(fields), sign(account, fields)) is account
        assert signatures.signer(TARGET, form(fields), sign(other, fields)) == "forged"


@pytest.mark.parametrize("signed", ["https://mycompany.com:8443", "https://mycompany.com"])
def test_twilio_may_sign_the_port_of_the_public_url_or_not(signed: str) -> None:
    signatures = Signatures([MAIN], "https://mycompany.com:8443")
    assert signatures.signer(TARGET, form(FIELDS), sign(MAIN, url=signed + TARGET)) is MAIN


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/twilio/status?mid=spring-2&a=1", FIELDS),
        ("/twilio/status?mid=spring-1", FIELDS),
        ("/twilio/inbound?mid=spring-1&a=1", FIELDS),
        (TARGET, {**FIELDS, "MessageStatus": "delivered"}),
        (TARGET, {**FIELDS, "MessagingServiceSid": "MG1"}),
        (TARGET, {**FIELDS, "New": ""}),
        (TARGET, {name: value for name, value in FIELDS.items() if name != "MessageStatus"}),
    ],
)
def test_whatever_is_changed_is_found_out(signatures: Signatures, target: str, fields: dict[str, str]) -> None:
    assert signatures.signer(target, form(fields), sign(MAIN)) == "forged"


def test_parameters_that_nobody_has_heard_of_are_signed_too(signatures: Signatures) -> None:
    fields = {**FIELDS, "Unheard": "of"}
    assert signatures.signer(TARGET, form(fields), sign(MAIN, fields)) is MAIN


def test_a_parameter_may_come_twice(signatures: Signatures) -> None:
    twice = Form(f"AccountSid={MAIN.sid}&MediaUrl=b&MediaUrl=a")
    url = f"{PUBLIC_URL}{TARGET}AccountSid{MAIN.sid}MediaUrlaMediaUrlb"
    signature = RequestValidator("12345").compute_signature(url, {})
    assert signatures.signer(TARGET, twice, signature) is MAIN


@pytest.mark.parametrize("signature", ["", "x", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "é" * 28, "\udcff" * 28])
def test_a_signature_that_is_none_is_forged(signatures: Signatures, signature: str) -> None:
    assert signatures.signer(TARGET, form(FIELDS), signature) == "forged"


def test_no_signature_and_no_account_of_ours_have_reasons_of_their_own(signatures: Signatures) -> None:
    stranger = {**FIELDS, "AccountSid": "AC" + "3" * 32}
    nobody = {name: value for name, value in FIELDS.items() if name != "AccountSid"}
    assert signatures.signer(TARGET, form(FIELDS), None) == "unsigned"
    assert signatures.signer(TARGET, form(stranger), sign(MAIN, stranger)) == "unknown_account"
    assert signatures.signer(TARGET, form(nobody), sign(MAIN, nobody)) == "unknown_account"
