"""What a store behind a protocol refuses or fails at, as errors of this package, with the reason and what to do.

What the other side refuses (permissions, no such bucket) is a SpecError: trying again changes nothing. What this
machine lacks (keys that are known there) is a ConfigurationError: another machine may have it. All else may pass, and
is a TransientError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from igneous_ng.errors import ConfigurationError, IgneousError, SpecError, TransientError

_DENIED = (401, 403)
_WAITING = {
    "ExpiredToken": "the session token is over; renew it (`aws sso login`, say) and start again",
    "TokenRefreshRequired": "the session token is over; renew it and start again",
    "RequestTimeTooSkewed": "set the clock of this machine",
}
_REFUSED = {
    "NoSuchBucket": "make the bucket, or correct its name",
    "NotImplementedError": "this protocol cannot do it; choose another",
    "InvalidBucketName": "correct the name of the bucket",
    "ParamValidationError": "correct the URL",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION to that",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_DEFAULT_REGION to that",
    "UserProjectMissing": "who asks pays for this bucket; set GS_USER_PROJECT to a project",
}
_LACKING = {
    "NoCredentialsError": "give this machine credentials for it",
    "DefaultCredentialsError": "give this machine credentials: `gcloud auth application-default login`, or the path of "
    "a key of a service account in GOOGLE_APPLICATION_CREDENTIALS",
    "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "ProfileNotFound": "correct AWS_PROFILE, or add that profile to ~/.aws/config",
    "InvalidAccessKeyId": "this access key is not known there; correct AWS_ACCESS_KEY_ID",
    "InvalidClientTokenId": "this access key is not known there; correct AWS_ACCESS_KEY_ID",
    "InvalidToken": "the session token is of other keys; correct AWS_SESSION_TOKEN",
    "SignatureDoesNotMatch": "the secret key is not that of the access key; correct AWS_SECRET_ACCESS_KEY",
}
_BROKEN = {"OSError", "HTTPClientError", "HTTPError", "ConnectionError", "IncompleteReadError", "FlexibleChecksumError",
           "ResponseParserError", "CredentialRetrievalError"}  # fmt: skip
_BUSY = {"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "InternalError"}


class Keys(NamedTuple):
    """Whether there are keys, and in words where they are from, or where they were looked for."""

    found: bool
    said: str


@contextmanager
def told(url: str, done: str, keys: Keys | None = None) -> Iterator[None]:
    """Raise whatever a client library says of ``url``, which was to be ``done`` (read, written, ...), as our own error.

    ``keys``: what the request was signed with.
    """
    try:
        yield
    except IgneousError:
        raise
    except Exception as error:
        raise _translated(error, url, done, keys) from error


def _translated(error: Exception, url: str, done: str, keys: Keys | None) -> IgneousError:
    name, said = code(error), str(error).replace(" (reached max retries: 0)", "") or code(error)
    whose = f"; {keys.said}" if keys else ""
    if advice := _LACKING.get(name):
        return ConfigurationError(f"{url} cannot be {done} ({said}): {advice}{whose}")
    if advice := _REFUSED.get(name):
        return SpecError(f"{url} cannot be {done} ({said}): {advice}")
    if status(error) in _DENIED and name not in _WAITING:
        if keys and not keys.found:
            return ConfigurationError(f"{url} cannot be {done} ({said}): it is not public{whose}")
        return SpecError(f"{url} cannot be {done} ({said}): check the permissions and the credentials{whose}")
    advice = _WAITING.get(name)
    return TransientError(f"{url} was not {done} ({said}){f': {advice}' if advice else ''}; will be tried again")


def passes(error: Exception) -> bool:
    """Whether the very same request may succeed in a moment: the network failed, or the other side is busy."""
    answered = status(error)
    if answered is None or answered < 300:  # nothing was answered, or an answer that began well was cut off
        return any(kind.__name__ in _BROKEN for kind in type(error).__mro__)
    return (answered >= 500 and answered != 501) or answered in (408, 429) or code(error) in _BUSY


def status(error: BaseException | None) -> int | None:
    """The HTTP status in an error of botocore, of google.cloud or of requests."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        return _number(answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return _number(getattr(answer, "status_code", None) or getattr(error, "code", None))


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def code(error: BaseException | None) -> str:
    """The name of an error, as S3 spells it where S3 answered."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        return str(answer.get("Error", {}).get("Code"))
    return type(error).__name__
