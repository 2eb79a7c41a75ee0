"""What every notifier promises, as checks."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol

from logad.contracts import Delivered, Notifier, Outcome, PartConfig, Refused, RetryLater
from logad.testing import Check, ContractBroken, require
from logad.testing.samples import HOSTILE, incident, resolved

Mood = Literal["takes", "busy", "refuses", "breaks"]
Promise = Callable[["NotifierCase"], None]

MOODS: tuple[Mood, ...] = ("takes", "busy", "refuses", "breaks")
WAIT_SECONDS = 7
LINKS = {"explain": "logad explain 1c"}


class Service(Protocol):
    """What stands in for the service: it takes messages, is busy, refuses for ever, or breaks off."""

    mood: Mood

    @property
    def received(self) -> list[bytes]:
        """What came in, one entry a message."""
        ...


@dataclass(frozen=True)
class NotifierCase:
    """A notifier and the service it speaks to, freshly made for each check."""

    notifier: Notifier
    service: Service | None
    """None where there is none that could fail; the checks of it must then be left out by name."""
    secrets: tuple[str, ...] = ()
    """What must never be shown."""
    markup: tuple[str, ...] = ()
    """What the service would act on if it stood in a message as it stood in the log."""
    longest: int = 100_000
    """How many characters of JSON a message may have."""


class HttpService:
    """A web server on this machine, in any mood; it repeats what it was asked in its answers, as some do."""

    def __init__(self) -> None:
        self.mood: Mood = "takes"
        self.received: list[bytes] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def running(self) -> Iterator["HttpService"]:
        """The service, answering until the block ends."""
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


def _handler(service: HttpService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service.received.append(body)
            if service.mood == "breaks":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            status = {"takes": 200, "busy": 429, "refuses": 404}[service.mood]
            answer = b"ok" if status == 200 else f"no_service {self.path} {dict(self.headers)}".encode()  # noqa: PLR2004
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if service.mood == "busy":
                self.send_header("Retry-After", str(WAIT_SECONDS))
            self.end_headers()
            self.wfile.write(answer)

        do_PUT = do_POST  # noqa: N815  (the server's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the server's name)
            """Say nothing."""

    return Handler


def notifier_checks(
    part: type[Notifier], made: Callable[[], AbstractContextManager[NotifierCase]]
) -> list[Check]:
    """Every promise; `made` gives a new case that stays open while one is checked."""
    names_itself = it_says_what_it_is_called
    first = Check(names_itself, lambda: names_itself(part))
    return [first, *(Check(promise, _bound(promise, made)) for promise in PROMISES)]


def _bound(promise: Promise, made: Callable[[], AbstractContextManager[NotifierCase]]) -> Callable[[], None]:
    def run() -> None:
        with made() as case:
            promise(case)

    return run


def it_says_what_it_is_called(part: type[Notifier]) -> None:
    """A name, and a Config that refuses unknown keys."""
    require(part.name.isidentifier(), f"name is {part.name!r}; expected an identifier")
    require(issubclass(part.Config, PartConfig), "Config is no PartConfig")


def messages_are_json(case: NotifierCase) -> None:
    """What the outbox keeps comes back from JSON as it was; what comes back is delivered."""
    for message in _messages(case.notifier):
        kept = json.loads(json.dumps(message))
        require(kept == message, "the message is another after JSON")
        outcome = case.notifier.deliver(kept)
        require(isinstance(outcome, Delivered), f"the message of the outbox: {outcome}")


def rendering_twice_gives_the_same_message(case: NotifierCase) -> None:
    """Equal incident, equal message: a retry cannot say something else."""
    require(_messages(case.notifier) == _messages(case.notifier), "two renderings differ")


def firing_and_resolved_differ(case: NotifierCase) -> None:
    """Who reads it sees that it is over."""
    opened = incident()
    firing = case.notifier.render(opened, LINKS)
    over = case.notifier.render(resolved(opened), LINKS)
    told = [[text for text in _texts(message) if text] for message in (firing, over)]
    require(told[0] != told[1], "the message of a resolved incident is that of an open one")


def a_message_that_is_taken_is_delivered_once(case: NotifierCase) -> None:
    """Delivered, and the service saw it one time."""
    service = _in_mood(case, "takes")
    outcome = case.notifier.deliver(case.notifier.render(incident(), LINKS))
    require(isinstance(outcome, Delivered), f"the service took it: {outcome}")
    require(len(service.received) == 1, f"the service received {len(service.received)} messages")


def a_busy_service_is_tried_later(case: NotifierCase) -> None:
    """RetryLater, not before the service asked for it, and not tried again by the notifier itself."""
    service = _in_mood(case, "busy")
    outcome = case.notifier.deliver(case.notifier.render(incident(), LINKS))
    require(isinstance(outcome, RetryLater), f"the service was busy: {outcome}")
    if isinstance(outcome, RetryLater):
        require(outcome.seconds >= WAIT_SECONDS, f"to be tried after {outcome.seconds} s, not {WAIT_SECONDS}")
    require(
        len(service.received) <= 1,
        "the notifier tried again by itself; one place retries, and it is not here",
    )


def a_refusing_service_is_not_tried_again(case: NotifierCase) -> None:
    """Refused, with a reason."""
    _in_mood(case, "refuses")
    outcome = case.notifier.deliver(case.notifier.render(incident(), LINKS))
    require(isinstance(outcome, Refused), f"the service refused for ever: {outcome}")
    require(getattr(outcome, "why", ""), "the outcome does not say why")


def a_broken_connection_is_tried_later(case: NotifierCase) -> None:
    """RetryLater, with a reason; nothing is raised."""
    _in_mood(case, "breaks")
    outcome = case.notifier.deliver(case.notifier.render(incident(), LINKS))
    require(isinstance(outcome, RetryLater), f"the connection broke: {outcome}")
    require(getattr(outcome, "why", ""), "the outcome does not say why")


def no_secret_is_shown(case: NotifierCase) -> None:
    """Not in an outcome, whatever the service answers, not in a message, not in a `repr`."""
    require(case.secrets, "the case names no secret; exempt the notifier if it has none")
    shown = [repr(case.notifier), repr(case.notifier.config), str(case.notifier.config)]
    shown += [json.dumps(message) for message in _messages(case.notifier)]
    for mood in MOODS:
        _in_mood(case, mood)
        outcome: Outcome = case.notifier.deliver(case.notifier.render(incident(), LINKS))
        shown.append(repr(outcome))
    for text in shown:
        for secret in case.secrets:
            require(secret not in text, f"a secret is shown in {text.replace(secret, '***')!r}")


def hostile_text_stays_text(case: NotifierCase) -> None:
    """No control character, no reordering of text, and none of the service's markup comes out of a log."""
    hostile = incident(HOSTILE)
    for message in (case.notifier.render(hostile, LINKS), case.notifier.digest([hostile, hostile], LINKS)):
        for text in _texts(message):
            odd = [character for character in text if not character.isprintable() and character not in "\n\t"]
            require(not odd, f"a message holds {odd[:3]!r}")
        for markup in case.markup:
            found = [text for text in _texts(message) if markup in text]
            require(not found, f"{markup!r} of a log stands in a message as it is: {found[:1]}")
        outcome = case.notifier.deliver(message)
        require(isinstance(outcome, Delivered), f"hostile text: {outcome}")


def a_very_long_text_is_cut_and_delivered(case: NotifierCase) -> None:
    """A log line of a megabyte makes a message that a service takes."""
    long = incident("x" * 1_000_000)
    message = case.notifier.render(long, LINKS)
    size = len(json.dumps(message))
    require(size <= case.longest, f"the message has {size} characters")
    require(isinstance(case.notifier.deliver(message), Delivered), "the long message was not delivered")


PROMISES: tuple[Promise, ...] = (
    messages_are_json,
    rendering_twice_gives_the_same_message,
    firing_and_resolved_differ,
    a_message_that_is_taken_is_delivered_once,
    a_busy_service_is_tried_later,
    a_refusing_service_is_not_tried_again,
    a_broken_connection_is_tried_later,
    no_secret_is_shown,
    hostile_text_stays_text,
    a_very_long_text_is_cut_and_delivered,
)


def _messages(notifier: Notifier) -> list[Mapping[str, Any]]:
    opened = incident()
    return [
        notifier.render(opened, LINKS),
        notifier.render(resolved(opened), LINKS),
        notifier.digest([opened, opened], LINKS),
    ]


def _in_mood(case: NotifierCase, mood: Mood) -> Service:
    if case.service is None:
        raise ContractBroken("the case has no service; exempt the notifier by name if it speaks to none")
    case.service.mood = mood
    return case.service


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
