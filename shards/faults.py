"""Errors of a store: whether another try may help, and how to describe them."""

from collections.abc import Iterable
from urllib.parse import unquote

ACCESS = (
    "give this store's usual credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID or ~/.aws for s3://, ~/.netrc for https://"
)


class Damaged(Exception):
    """The bytes that arrived are not those that are expected. Another try may bring them.

    Args:
        what: what is wrong with them.
        hint: what the user should do if it stays so; None for what helps with any server.
    """

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


def diagnose(error: BaseException) -> tuple[bool, str | None]:
    """Return whether an error means that a file is missing, and a hint where another try would not help."""
    status, kind = status_of(error), type(error).__name__
    if _code_of(error) == "NoSuchBucket":  # with the status of a missing file
        return False, "make the bucket, or correct the URL"
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__  # some stores raise FileNotFoundError whatever went wrong
        misreported = cause is not None and not isinstance(cause, FileNotFoundError) and status not in (404, 410)
        if not misreported:
            return True, None
        if status is None or status >= 500:
            return False, None
    if status in (404, 410):
        return True, None
    if isinstance(error, PermissionError) or status in (401, 403) or "Credential" in kind or "Token" in kind:
        return False, ACCESS
    if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
        return False, "correct the URL"
    if isinstance(error, ImportError | TypeError | AttributeError | NotImplementedError | ValueError):
        return False, "correct the URL, or install what the store needs"
    return False, None


def describe(error: BaseException, secrets: Iterable[str | None]) -> str:
    """Describe an error in at most 300 characters, with ``secrets`` replaced by dots."""
    status = status_of(error)
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, Damaged):
        text = str(error)
    elif status and type(error).__module__.startswith("aiohttp"):
        text = f"HTTP status {status}"
    for secret in filter(None, secrets):
        text = text.replace(secret, "...").replace(unquote(secret), "...")
    return " ".join(text.split())[:300]


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error or of its cause; None where there is none."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if isinstance(status := getattr(error, "status", None), int):
            return status
        error = error.__cause__
    return None


def _code_of(error: BaseException | None) -> str | None:
    """Return the code with which an S3 server explains an error or its cause; None where there is none."""
    while error is not None:
        if isinstance(response := getattr(error, "response", None), dict):
            return response.get("Error", {}).get("Code")
        error = error.__cause__
    return None
