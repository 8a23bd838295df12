"""Drives Mintmark with Opal's published Python client, unmodified. Any surprise is an exception."""

import os
import uuid

import opal_security
from opal_security.api.tokens_api import TokensApi
from opal_security.exceptions import (
    BadRequestException,
    ForbiddenException,
    NotFoundException,
    UnauthorizedException,
)

HOST = os.environ["OPAL_HOST"]


def client(token):
    return TokensApi(
        opal_security.ApiClient(opal_security.Configuration(host=HOST, access_token=token))
    )


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} expected")


admin = client(os.environ["ADMIN_TOKEN"])
everything = admin.get_tokens().results
assert len(everything) >= 3, everything
assert all(isinstance(token.token_id, uuid.UUID) for token in everything)

# Page by page, forth and back again.
first = admin.get_tokens(page_size=1)
second = admin.get_tokens(page_size=1, cursor=first.next)
assert first.previous is None and second.results != first.results
assert admin.get_tokens(page_size=1, cursor=second.previous).results == first.results

ids = [token.token_id for token in everything[:2]]
assert {token.token_id for token in admin.get_tokens(token_ids=ids).results} == set(ids)
assert len(admin.get_tokens(token_ids=[]).results) == len(everything)
assert admin.get_tokens(user_id=uuid.uuid4()).results == []

refused(BadRequestException, lambda: admin.get_tokens(page_size=-1))
refused(NotFoundException, lambda: admin.delete_token(uuid.uuid4()))
refused(UnauthorizedException, lambda: client("nobody").get_tokens())

alice = client(os.environ["USER_TOKEN"])
refused(ForbiddenException, alice.get_tokens)
own = next(token for token in everything if token.token_label == "alice's")
refused(ForbiddenException, lambda: alice.delete_token(own.token_id))

assert admin.delete_token(own.token_id) is None
refused(NotFoundException, lambda: admin.delete_token(own.token_id))
refused(UnauthorizedException, alice.get_tokens)
print("The published Opal client: all as it should be.")
