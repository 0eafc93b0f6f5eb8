"""The AWS account that the credentials belong to: clients, and what their errors mean.

Clients have short timeouts and few attempts: a preflight that hangs would be worse than one that says why.
"""

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from local.console import Failure

_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})

#: Errors that say that the caller lacks a permission.
_DENIED = frozenset(["AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"])


class Account:
    """Clients of one region with the credentials of one profile."""

    def __init__(self, session: boto3.Session, region: str | None) -> None:
        self.session = session
        self.region = region
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The client of a service."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, region_name=self.region, config=_CONFIG)
        return self._clients[service]


def open_account(region: str | None, profile: str | None) -> Account:
    """Opens a session. ``region`` is the one to use; without it, that of the profile. Raises Failure for an unknown
    profile."""
    try:
        session = boto3.Session(profile_name=profile)
        return Account(session, region or session.region_name)
    except ProfileNotFound as error:
        raise Failure(f"{error}; name one of `aws configure list-profiles`, or unset AWS_PROFILE", 2) from error


def error_code(error: Exception) -> str:
    """The code of a service's error, or the name of botocore's."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def is_denied(error: Exception) -> bool:
    """Whether the caller lacks the permission for a call."""
    return error_code(error) in _DENIED


def describe_error(error: BotoCoreError | ClientError) -> str:
    """An error in one line."""
    return " ".join(str(error).split())
