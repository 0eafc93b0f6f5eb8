"""Credentials and region."""

from collections.abc import Iterator
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
)

from deploy.account import Account, describe_error, error_code, is_denied
from deploy.finding import Finding, not_checked, ok, problem, warning

_NETWORK = (ConnectionError, HTTPClientError)
_EXPIRED = frozenset(["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
#: What a region that is not enabled for the account says, and every region to unknown keys.
_UNKNOWN_KEY = frozenset(["InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "OptInRequired"])


@dataclass(frozen=True)
class Caller:
    """Who the credentials belong to."""

    account_id: str
    arn: str

    @property
    def partition(self) -> str:
        """aws, aws-cn, aws-us-gov."""
        return self.arn.split(":")[1]


def check_region(account: Account) -> Iterator[Finding]:
    """Checks that the region is set and known. Calls nothing."""
    if not account.region:
        yield problem("region", "no region is set", "make doctor REGION=eu-west-1, or set AWS_REGION")
        return
    session = account.session
    known = {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("lambda", partition_name=partition)
    }
    if account.region not in known:
        text = f"{account.region} is not a region with Lambda that this version of boto3 knows"
        yield problem("region", text, "check the spelling, for example eu-west-1; for a new region, update aws-sam-cli")


def identify(account: Account) -> tuple[Caller | None, Finding]:
    """Asks who the credentials belong to."""
    try:
        said = account.client("sts").get_caller_identity()
    except (NoCredentialsError, PartialCredentialsError) as error:
        advice = "sign in (`aws sso login`, `aws configure`), or set AWS_PROFILE"
        return None, problem("credentials", describe_error(error), advice)
    except InvalidRegionError as error:
        return None, problem("region", describe_error(error), "check the spelling, for example eu-west-1")
    except _NETWORK as error:
        advice = "check the network, the proxy (HTTPS_PROXY), and that the region exists"
        return None, problem("credentials", f"AWS cannot be reached: {describe_error(error)}", advice)
    except (BotoCoreError, ClientError) as error:
        advice = "sign in again"
        if error_code(error) in _EXPIRED:
            return None, problem("credentials", "the credentials have expired", advice)
        if error_code(error) in _UNKNOWN_KEY:
            advice = "check the access key; a region that is not enabled for the account says the same"
        return None, problem("credentials", describe_error(error), advice)
    caller = Caller(said["Account"], said["Arn"])
    if caller.arn.endswith(":root"):
        text = f"the root user of account {caller.account_id}"
        return caller, warning("credentials", text, "use a role with the permissions of docs/deploy.md instead")
    return caller, ok("credentials", f"{caller.arn}, account {caller.account_id}")


def check_lambda(account: Account) -> tuple[dict | None, Finding]:
    """Calls Lambda in the region. Returns the settings of the account there."""
    region = account.region
    try:
        settings = account.client("lambda").get_account_settings()
    except _NETWORK as error:
        advice = "check the network, the proxy (HTTPS_PROXY), and that the region has Lambda"
        return None, problem("region", f"Lambda does not answer in {region}: {describe_error(error)}", advice)
    except (BotoCoreError, ClientError) as error:
        if is_denied(error):
            return None, not_checked("region", f"lambda:GetAccountSettings is denied in {region}")
        advice = "choose another region"
        if error_code(error) in _UNKNOWN_KEY:
            advice = f'enable {region} (Account Management, "Enable or disable AWS Regions"), or choose another region'
        return None, problem("region", f"Lambda refuses in {region}: {describe_error(error)}", advice)
    return settings, ok("region", f"Lambda answers in {region}")
