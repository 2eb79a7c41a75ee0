"""Messages against servers on this machine that answer as Slack and SMTP servers do, well and badly."""

import email
import email.policy
import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from pydantic import ValidationError
from test_rendering import DIGEST, GOES_ON, HOSTILE_TEXT, OPEN, OVER, RENDERER
from verdicts import hostile, incident

from logad.contracts import Delivered, PartConfig, Refused, RetryLater
from logad.errors import ConfigError
from logad.notify.email import EmailConfig, EmailNotifier
from logad.notify.slack import SlackConfig, SlackNotifier, fitted
from logad.notify.stdout import StdoutNotifier

SECRET = "T00000000/B00000000/abcdefghijklmnopqrstuvwx"


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def slack(status=200, body=b"ok", headers=(), delay=None):
    """A web server that answers every post alike and keeps what it was posted."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            if delay is not None:
                delay.wait(5)
                return
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/services/{SECRET}", received


def slack_to(address, **options):
    return SlackNotifier(SlackConfig(webhook=address, **options), RENDERER)


def test_slack_gets_the_rendered_message():
    with slack() as (address, received):
        notifier = slack_to(address)
        message = notifier.render(OPEN, {})
        assert notifier.deliver(json.loads(json.dumps(message))) == Delivered()
    assert [(path, json.loads(body)) for path, body in received] == [(f"/services/{SECRET}", message)]


@pytest.mark.parametrize(
    ("status", "body", "headers", "outcome", "seconds"),
    [
        (429, b"rate_limited", [("Retry-After", "17")], RetryLater, 17),
        (429, b"", [("retry-after", "0")], RetryLater, 1),
        (429, b"", [("Retry-After", "soon")], RetryLater, 30),
        (429, b"", [("Retry-After", "99999999")], RetryLater, 3600),
        (429, b"", [], RetryLater, 30),
        (500, b"rollup_error", [], RetryLater, 30),
        (503, b"<html>down</html>", [], RetryLater, 30),
        (408, b"", [], RetryLater, 30),
        (200, b"<html>Please log in to the network</html>", [], RetryLater, 30),
        (200, b"\xff\xfe\x00garbage", [], RetryLater, 30),
        (200, b"ok", [("Content-Type", "text/plain; charset=klingon")], RetryLater, 30),
        (400, b"invalid_payload", [], Refused, None),
        (403, b"action_prohibited", [], Refused, None),
        (404, b"no_service", [], Refused, None),
        (410, b"channel_is_archived", [], Refused, None),
    ],
)
def test_slack_answers_are_told_apart(status, body, headers, outcome, seconds):
    with slack(status, body, headers) as (address, received):
        told = slack_to(address).deliver({"text": "x"})
    assert isinstance(told, outcome), told
    assert len(received) == 1
    assert getattr(told, "seconds", None) == seconds
    assert told.why.startswith("slack: ")


def test_a_slack_that_does_not_answer_in_time_is_tried_later():
    answer = threading.Event()
    with slack(delay=answer) as (address, _):
        told = slack_to(address, timeout_seconds=0.1).deliver({"text": "x"})
        answer.set()
    assert isinstance(told, RetryLater)
    assert "Timeout" in told.why or "timed out" in told.why


def test_a_slack_that_is_not_there_is_tried_later():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/services/{SECRET}"
    told = slack_to(address).deliver({"text": "x"})
    assert isinstance(told, RetryLater)
    assert "refused" in told.why


def test_a_slack_that_hangs_up_is_tried_later_and_not_by_the_notifier_itself():
    answer = threading.Event()
    answer.set()
    with slack(delay=answer) as (address, received):
        told = slack_to(address).deliver({"text": "x"})
    assert isinstance(told, RetryLater)
    assert len(received) == 1


def test_the_webhook_is_in_no_text(tmp_path, caplog):
    with caplog.at_level("DEBUG"), slack(404, f"no such hook /services/{SECRET}".encode()) as (address, _):
        notifier = slack_to(address)
        told = [repr(notifier.deliver(notifier.render(OPEN, {}))), repr(notifier.config), repr(notifier)]
    for bad in ("not an address " + SECRET, "https://hooks.slack.com/" + SECRET + "\n", f"ftp://h/{SECRET}"):
        with pytest.raises(ValidationError) as error:
            SlackConfig(webhook=bad)
        told.append(str(error.value))
    (tmp_path / "hook").write_text(f"two lines {SECRET}\n{SECRET}")
    with pytest.raises(ConfigError) as error:
        SlackNotifier(SlackConfig(webhook_file=tmp_path / "hook"), RENDERER)
    told += [str(error.value), caplog.text]
    assert all(part not in text for part in (SECRET, SECRET.rsplit("/", maxsplit=1)[-1]) for text in told), (
        told
    )


def test_the_webhook_may_lie_in_a_file(tmp_path):
    with slack() as (address, received):
        (tmp_path / "hook").write_text(address + "\n")
        notifier = SlackNotifier(SlackConfig(webhook_file=tmp_path / "hook"), RENDERER)
        assert notifier.deliver({"text": "x"}) == Delivered()
    assert received[0][0] == f"/services/{SECRET}"
    with pytest.raises(ConfigError, match="cannot be read: FileNotFoundError"):
        SlackNotifier(SlackConfig(webhook_file=tmp_path / "none"), RENDERER)


@given(text=HOSTILE_TEXT)
def test_whatever_a_user_template_yields_is_cut_to_the_limits_of_slack(text):
    part = {"type": "mrkdwn", "text": "```" + text * 30}
    message = fitted(
        {
            "text": text * 20,
            "blocks": [{"type": "header", "text": part}]
            + [{"type": "section", "text": part, "fields": [part] * 12}] * 60
            + [{"type": "divider"}],
        }
    )
    assert len(message["blocks"]) == 50
    assert len(message["text"]) <= 3000
    assert len(message["blocks"][0]["text"]["text"]) <= 150
    section = message["blocks"][1]
    assert len(section["text"]["text"]) <= 3000
    assert len(section["fields"]) == 10
    assert all(len(field["text"]) <= 2000 for field in section["fields"])


class Smtp(socketserver.ThreadingTCPServer):
    """As much of RFC 5321 as it takes to take a mail; `answers` maps a verb to another answer."""

    daemon_threads = True

    def __init__(self, answers=None, context=None, greeting=b"220 here\r\n"):
        self.answers, self.context, self.greeting = answers or {}, context, greeting
        self.mails, self.said = [], []
        super().__init__(("127.0.0.1", 0), _Session)


class _Session(socketserver.BaseRequestHandler):
    def handle(self):
        service, stream = self.server, self.request.makefile("rwb")
        try:
            self.converse(service, stream)
        except (OSError, ssl.SSLError):
            pass
        finally:
            stream.close()

    def converse(self, service, stream):
        def say(answer):
            stream.write(answer)
            stream.flush()

        say(service.greeting)
        while line := stream.readline():
            service.said.append(line)
            verb = line[:4].upper()
            known = {
                b"EHLO": b"250-here\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n",
                b"DATA": b"354 go\r\n",
                b"QUIT": b"221 bye\r\n",
            }
            answer = service.answers.get(verb, known.get(verb, b"250 fine\r\n"))
            if isinstance(answer, list):
                answer = answer.pop(0)
            if answer is None:
                return
            if verb == b"STAR" and service.context:
                say(b"220 go\r\n")
                secure = service.context.wrap_socket(self.request, server_side=True)
                try:
                    secured = secure.makefile("rwb")
                    service.greeting = b""
                    self.converse(service, secured)
                finally:
                    secure.close()
                return
            say(answer)
            if verb == b"DATA" and answer.startswith(b"354"):
                service.mails.append(b"".join(iter(stream.readline, b".\r\n")))
                say(service.answers.get(b".", b"250 taken\r\n"))
            if verb == b"QUIT":
                return


def mailer(service, **options):
    settings_ = {
        "host": "127.0.0.1",
        "port": service.server_address[1],
        "security": "none",
        "sender": "logad <logad@example.org>",
        "recipients": ["ops@example.org", "night@example.org"],
        "timeout_seconds": 2,
    }
    return EmailNotifier(EmailConfig(**(settings_ | options)), RENDERER)


def parsed(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_the_mails_of_an_incident_form_a_thread_and_a_repeated_one_has_its_id():
    with serving(Smtp()) as service:
        notifier = mailer(service)
        for one in (incident(OPEN.worst), GOES_ON, GOES_ON, OVER, incident(GOES_ON.worst)):
            assert isinstance(notifier.deliver(json.loads(json.dumps(notifier.render(one, {})))), Delivered)
    other, goes_on, again, over, first = map(parsed, service.mails)
    assert goes_on["References"] == over["References"] == over["In-Reply-To"] == first["Message-ID"]
    assert first["References"] is None
    assert goes_on["Message-ID"] == again["Message-ID"]
    assert len({mail["Message-ID"] for mail in (other, goes_on, over, first)}) == 4
    assert over["Subject"].startswith("[logad] RESOLVED payments")
    assert over["To"] == "ops@example.org, night@example.org"
    assert {part.get_content_type() for part in over.walk()} >= {"text/plain", "text/html"}
    assert "expected 3 → actual 2" in other.get_body(("plain",)).get_content()
    assert "expected 3 → actual 2" in other.get_body(("html",)).get_content()


def test_a_digest_is_one_mail():
    with serving(Smtp()) as service:
        notifier = mailer(service)
        notifier.deliver(notifier.digest(DIGEST, {}))
    (mail,) = map(parsed, service.mails)
    assert mail["Subject"].startswith("[logad] 3 incidents; worst: datanode: ")
    assert mail["References"] is None


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({b"MAIL": b"451 4.3.0 busy\r\n"}, RetryLater),
        ({b"MAIL": b"554 5.7.1 never\r\n"}, Refused),
        ({b"DATA": b"452 disk full\r\n"}, RetryLater),
        ({b".": b"550 5.7.1 looks like spam\r\n"}, Refused),
        ({b".": b"421 going down\r\n"}, RetryLater),
        ({b"RCPT": b"450 greylisted\r\n"}, RetryLater),
        ({b"RCPT": b"550 no such user\r\n"}, Refused),
        ({b"RCPT": [b"550 no such user\r\n", b"450 later\r\n"]}, RetryLater),
        ({b"MAIL": None}, RetryLater),
        ({b"EHLO": b"what?\r\n", b"HELO": b"what?\r\n"}, RetryLater),
    ],
)
def test_smtp_answers_are_told_apart(answers, outcome):
    with serving(Smtp(answers)) as service:
        notifier = mailer(service)
        told = notifier.deliver(notifier.render(OPEN, {}))
    assert isinstance(told, outcome), told
    assert told.why.startswith("email: 127.0.0.1:")


def test_a_mail_that_some_recipients_refuse_is_delivered_and_names_them():
    with serving(Smtp({b"RCPT": [b"250 fine\r\n", b"550 no such user\r\n"]})) as service:
        notifier = mailer(service)
        told = notifier.deliver(notifier.render(OPEN, {}))
    assert isinstance(told, Delivered)
    assert "not to night@example.org" in told.reference


@pytest.mark.parametrize("goodbye", [b"250 fine\r\n", b"421 going down\r\n", None])
def test_a_mail_that_was_taken_is_delivered_whatever_the_server_says_at_the_end(goodbye):
    with serving(Smtp({b"QUIT": goodbye})) as service:
        notifier = mailer(service)
        assert isinstance(notifier.deliver(notifier.render(OPEN, {})), Delivered)
    assert len(service.mails) == 1


@pytest.mark.parametrize("greeting", [b"\xff\xfe\x00\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"421 too busy\r\n"])
def test_a_server_that_greets_oddly_is_tried_later(greeting):
    with serving(Smtp(greeting=greeting)) as service:
        notifier = mailer(service)
        assert isinstance(notifier.deliver(notifier.render(OPEN, {})), RetryLater)


def test_a_mail_server_that_is_not_there_is_tried_later():
    with Smtp() as service:
        notifier = mailer(service)
    told = notifier.deliver(notifier.render(OPEN, {}))
    assert isinstance(told, RetryLater)
    assert "refused" in told.why


def certificate(folder):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, made = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", made], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


def test_the_password_goes_only_to_a_server_that_proves_its_name_and_is_in_no_text(tmp_path, monkeypatch):
    made, context = certificate(tmp_path)
    login = {"security": "starttls", "username": "logad", "password": "hunter2-hunter2"}
    answers = {b"AUTH": [b"535 5.7.8 bad password hunter2-hunter2\r\n"] * 3}
    with serving(Smtp(answers, context)) as service:
        notifier = mailer(service, **login)
        message = notifier.render(OPEN, {})
        stranger = notifier.deliver(message)
        assert isinstance(stranger, RetryLater)
        assert not any(line.startswith(b"AUTH") for line in service.said)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    with serving(Smtp(answers, context)) as service:
        notifier = mailer(service, **login)
        proven = notifier.deliver(message)
        assert any(line.startswith(b"AUTH") for line in service.said)
    assert isinstance(proven, Refused)
    assert "check `username`" in proven.why
    shown = [repr(stranger), repr(proven), repr(notifier.config), json.dumps(message)]
    assert all("hunter2" not in text for text in shown), shown


def test_a_password_never_travels_in_the_clear():
    with pytest.raises(ValidationError, match="in the clear") as error:
        EmailConfig(
            host="h", sender="a@b.c", recipients=["a@b.c"], username="u", password="hunter2", security="none"
        )
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("address", ["", "nobody", "a@b.c\r\nBcc: d@e.f", "a@b.c\n"])
def test_an_address_that_is_none_fails_at_the_start(address):
    with pytest.raises(ValidationError):
        EmailConfig(host="h", sender=address, recipients=["a@b.c"])


@settings(max_examples=100)
@given(text=HOSTILE_TEXT)
def test_no_log_text_adds_a_header_to_a_mail(text):
    notifier = EmailNotifier(EmailConfig(host="h", sender="a@b.c", recipients=["a@b.c"]), RENDERER)
    mail = notifier._mail(notifier.render(incident(hostile(text), verdicts=2), {}))
    read = parsed(mail.as_bytes())
    assert set(read.keys()) == {
        "Subject", "From", "To", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert "\n" not in read["Subject"]
    assert "\r" not in read["Subject"]


def test_standard_output_shows_the_incident_in_one_piece():
    written = []
    notifier = StdoutNotifier(PartConfig(), RENDERER, written.append)
    assert notifier.deliver(notifier.render(OPEN, {})) == Delivered()
    (block,) = written
    assert "┃ PAGE · datanode: " in block
    assert all(line.startswith("┃") for line in block.strip().splitlines())


def test_a_closed_standard_output_is_tried_later():
    def broken(text):
        raise BrokenPipeError

    notifier = StdoutNotifier(PartConfig(), RENDERER, broken)
    assert isinstance(notifier.deliver(notifier.digest(DIGEST, {})), RetryLater)
