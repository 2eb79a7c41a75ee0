"""No secret enters the ledger; what is no secret stays."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from logad.redaction import Config, Redactor
from logad.types import AnomalyType, Evidence, Reason, Verdict, WindowKind, WindowRef

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nabc+/=\n-----END RSA PRIVATE KEY-----"

SECRETS = [
    ("login password=hunter2 ok", "hunter2", "password"),
    ("PASSWORD: hunter2", "hunter2", "password"),
    ('{"db_password": "hunter 2", "user": "x"}', "hunter 2", "password"),
    ("db.secret_key='s3cr3t'", "s3cr3t", "password"),
    ("api-key = abcdef0123", "abcdef0123", "password"),
    ("--token=abc/def+ghi==", "abc/def+ghi==", "password"),
    ("Authorization: Bearer abcDEF123.456-789", "abcDEF123.456-789", "token"),
    ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "token"),
    ("push with ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz", "token"),
    ("hook xoxb-123456789012-abcdefGHIJ", "xoxb-123456789012", "token"),
    ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE", "aws-key"),
    (f"loaded {KEY} from disk", "MIIEpAIBAAKCAQEA7", "private-key"),
    (KEY[:50], "MIIEpAIBAAKCAQEA7", "private-key"),
    ("mail to ann.lee+x@mail.example.org failed", "ann.lee+x@mail.example.org", "email"),
    ("paid with 4111 1111 1111 1111.", "4111 1111 1111 1111", "card"),
    ("paid with 5500-0000-0000-0004", "5500-0000-0000-0004", "card"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxwRJSMeKKF2QT4", "eyJzdWIi", "jwt"),
    ("GET https://ann:pa55@host.example/x", "pa55", "credentials"),
    ("postgres://app:s3cret@db:5432/shop", "s3cret", "credentials"),
]

HARMLESS = [
    "Receiving block blk_-1608999687919862906 src: /10.250.19.102:54106 dest: /10.250.19.102:50010",
    "order 1234567812345678 shipped",  # sixteen digits whose check digit is wrong
    "GET https://host.example:8443/path took 5 ms",
    "password changed for user 7",
    "secret santa at 10:30",
    "2026-03-02 08:00:00,123 INFO tokens refilled: 17",
    "commit 7c9e6679-7425-40de-944b-e07fc1f90ae7 at x@y",
    "bearer of bad news",
]


@pytest.mark.parametrize(("text", "secret", "kind"), SECRETS)
def test_a_secret_is_replaced_by_its_kind(text, secret, kind):
    redacted = Redactor().text(text)
    assert secret not in redacted
    assert f"<redacted:{kind}>" in redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    assert Redactor().text(text) == text


@given(st.lists(st.sampled_from([text for text, _, _ in SECRETS] + HARMLESS), max_size=4).map(" | ".join))
def test_redacting_twice_changes_nothing_more(text):
    once = Redactor().text(text)
    assert Redactor().text(once) == once


@given(st.text(max_size=200))
def test_any_text_is_survived(text):
    assert isinstance(Redactor().text(text), str)


HOSTILE = [
    *(
        "a.",
        "a@",
        "a@a.",
        "password=",
        "password",
        "eyJ",
        "eyJaaaaaaaa.",
        "1 ",
        "4",
        "://",
        "://a:",
        "a_",
        "a-",
    ),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "bearer ", 'token:"', "x" * 50 + "@"),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_time_in_proportion_to_its_length(unit):
    redactor = Redactor()
    text = unit * (60_000 // len(unit)) + "!"
    begun = time.perf_counter()
    redactor.text(text)
    assert time.perf_counter() - begun < 2.0


def verdict_with(text):
    window = WindowRef(WindowKind.SESSION, text, None, None, 1, 2, 2)
    reason = Reason("pca", AnomalyType.POINT, text, "t", text, text, text, (Evidence("a.log", 1, text),))
    return Verdict("id", "shop", window, False, 0.9, 0.1, {}, (reason, replace(reason, template=None)))


def test_nothing_a_verdict_tells_keeps_a_secret():
    shown = str(Redactor().verdict(verdict_with("user=ann password=hunter2")).as_dict())
    assert "hunter2" not in shown
    assert "user=ann" in shown


def test_redaction_can_be_switched_off():
    verdict = verdict_with("password=hunter2")
    assert Redactor(Config(enabled=False)).verdict(verdict) == verdict


def test_own_patterns_replace_their_first_group():
    redactor = Redactor(Config(patterns={"customer": r"customer (\d+)", "pet": "rex"}))
    assert redactor.text("customer 77 and rex") == "customer <redacted:customer> and <redacted:pet>"


def test_a_pattern_that_is_none_is_refused_at_the_start():
    with pytest.raises(ValidationError, match="expected a regular expression"):
        Config(patterns={"bad": "("})
