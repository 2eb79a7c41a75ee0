"""The one place that speaks to OpenSearch's client: makes it, tells its errors apart, hides secrets."""

import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from logad.errors import InputError

RETRIES: Final = 6  # with the pauses doubling from a quarter of a second: about 16 seconds in all
_FIRST_PAUSE_SECONDS: Final = 0.25
_BUSY: Final = frozenset({408, 429, 502, 503, 504})
_TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cluster is and who asks; `repr` and `str` show no password."""

    url: str  # scheme, host and port alone
    path: str  # what follows: an index, a pattern, or nothing
    user: str | None
    secret: "_Hidden"


@dataclass(frozen=True, slots=True, repr=False)
class _Hidden:
    value: str | None

    def __repr__(self) -> str:
        return "None" if self.value is None else "'***'"


class Unavailable(Exception):  # noqa: N818  (an answer, turned into an error of ours by who asked)
    """The cluster may answer later: it is busy, or the connection broke."""


class Denied(Exception):  # noqa: N818  (as above)
    """The cluster will never answer this; `status` is HTTP's, or 0."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def address(text: str) -> Address:
    """The parts of `http(s)://[USER:PASSWORD@]HOST:PORT[/INDEX]`.

    Raises:
        InputError: it is no such URL.

    >>> address("http://me:s3cret@localhost:9200/logs-*")
    Address(url='http://localhost:9200', path='logs-*', user='me', secret='***')
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in {"http", "https"}:
        raise InputError(without_secrets(text), "not a URL of OpenSearch", "http(s)://HOST:PORT/INDEX")
    bracketed = f"[{host}]" if ":" in host else host
    user = unquote(parts.username) if parts.username else None
    secret = unquote(parts.password) if parts.password else None
    url = f"{parts.scheme}://{bracketed}:{port or (443 if parts.scheme == 'https' else 9200)}"
    return Address(url, parts.path.strip("/"), user, _Hidden(secret))


def connect(
    where: Address, user: str | None = None, password: str | None = None, ca_file: Path | None = None
) -> Any:  # noqa: ANN401  (the client is not imported at the top)
    """A client of one cluster; nothing is sent yet, and nothing is retried in it (`patiently` does)."""
    import opensearchpy  # noqa: PLC0415  (half a second, and only those who use OpenSearch pay it)

    user, password = user or where.user, password or where.secret.value
    return opensearchpy.OpenSearch(
        hosts=[where.url],
        http_auth=(user, password or "") if user else None,
        verify_certs=True,
        ca_certs=str(ca_file) if ca_file else None,
        timeout=_TIMEOUT_SECONDS,
        max_retries=0,
        http_compress=False,
    )


def ask(call: Callable[[], Any]) -> Any:  # noqa: ANN401  (OpenSearch's JSON)
    """What the call gives, with every error of the client told as one of two.

    Raises:
        Unavailable: trying again can help.
        Denied: it cannot.
    """
    import opensearchpy  # noqa: PLC0415  (see `connect`)

    try:
        with warnings.catch_warnings():  # servers warn of what later versions drop: not the user's concern
            warnings.simplefilter("ignore", opensearchpy.exceptions.OpenSearchWarning)
            return call()
    except opensearchpy.exceptions.SSLError as error:
        raise Denied(0, f"the certificate is not trusted ({_reason(error)})") from None
    except opensearchpy.exceptions.ConnectionError as error:
        raise Unavailable(_reason(error)) from None
    except opensearchpy.exceptions.TransportError as error:
        status = error.status_code if isinstance(error.status_code, int) else 0
        if status in _BUSY:
            raise Unavailable(f"HTTP {status}: {_reason(error)}") from None
        raise Denied(status, f"HTTP {status}: {_reason(error)}") from None


def patiently(
    call: Callable[[], Any], sleep: Callable[[float], None] = time.sleep, retries: int = RETRIES
) -> Any:  # noqa: ANN401  (OpenSearch's JSON)
    """Like `ask`, tried again with doubling pauses while the cluster is unavailable."""
    for pause in pauses(retries):
        try:
            return ask(call)
        except Unavailable:
            sleep(pause)
    return ask(call)


def pauses(retries: int = RETRIES) -> list[float]:
    """The seconds to wait before each new try.

    >>> pauses(3)
    [0.25, 0.5, 1.0]
    """
    return [_FIRST_PAUSE_SECONDS * 2**number for number in range(retries)]


def busy(status: int) -> bool:
    """Whether an HTTP status (of a request or of one item of a bulk) says: later.

    >>> busy(429), busy(400)
    (True, False)
    """
    return status in _BUSY


def without_secrets(text: str) -> str:
    """A text whose URLs have lost their credentials.

    >>> without_secrets("opensearch+https://me:s3cret@search:9200/logs")
    'opensearch+https://***@search:9200/logs'
    """
    return re.sub(r"(?<=://)[^\s/]*@", "***@", text)


def _reason(error: Exception) -> str:
    """The short reason inside an answer or a broken connection, without what was sent."""
    body = getattr(error, "info", None)
    if isinstance(body, Mapping):
        cause = body.get("error", body)
        if isinstance(cause, Mapping):
            cause = cause.get("reason") or cause.get("type")
        return without_secrets(str(cause))[:300]
    text = str(body if body is not None else error)
    for known in (
        "Connection refused",
        "timed out",
        "Name or service not known",
        "CERTIFICATE_VERIFY_FAILED",
    ):
        if known.lower() in text.lower():
            return known[0].lower() + known[1:] if known[1].islower() else known
    return without_secrets(text)[:300]
