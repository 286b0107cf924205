"""Decides whether a request is Twilio's: signed with the token of the account that it names."""

from collections.abc import Iterable

from twilio.request_validator import RequestValidator

from dispatcher.domain.fleet import Account
from dispatcher.webhooks.callbacks import Form


class Signatures:
    """Knows what Twilio signs: *public_url*, path and query as they came, and every parameter that came.

    https://www.twilio.com/docs/usage/security#validating-requests
    """

    def __init__(self, accounts: Iterable[Account], public_url: str) -> None:
        self._public_url = public_url
        self._signers = {account.sid: (account, RequestValidator(account.auth_token.reveal())) for account in accounts}

    def signer(self, target: str, form: Form, signature: str | None) -> Account | str:
        """Return the account whose token signed the request, or why it is none of Twilio's.

        The reason is `unsigned`, `unknown_account` or `forged`. *target* is path and query below the public URL.
        """
        if signature is None:
            return "unsigned"
        account, validator = self._signers.get(form.get("AccountSid") or "", (None, None))
        if account is None or validator is None:
            return "unknown_account"
        return account if validator.validate(self._public_url + target, form, signature) else "forged"
