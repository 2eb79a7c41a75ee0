"""What people see: golden files, hostile text, widths, and templates that a user broke."""

import html
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from verdicts import block, calm, document, hostile, incident, silence

from logad.cli import cli
from logad.errors import ConfigError
from logad.rendering import Renderer, ScanSummary
from logad.types import Evidence
from logad.wording import cells, cut, plain, visible, wrapped

GOLDEN = Path(__file__).parent / "golden"
RENDERER = Renderer()
LINKS = {"Runbook": "https://wiki.example.org/runbook?a=1&b=<2>|x", "no link": "javascript:alert(1)"}
SUMMARY = ScanSummary(
    windows=11501,
    anomalous=5,
    records=222579,
    templates=45,
    span="2008-11-09 20:35:18 to 2008-11-11 10:15:02 UTC (1d13h)",
    seconds=3.24,
    doubts=("41 lines were not UTF-8; their bad bytes are shown as �",),
    windowing="sessions by blk_-?\\d+, chosen because 99.9% of the records carry one",
)
FOUND = [document(), block(2, 0.95), calm(), silence(), block(1, 0.971), block(3, 0.93)]
OPEN = incident(block(1, 0.971))
GOES_ON = incident(silence(), verdicts=5, minutes=42)
OVER = incident(silence(), "resolved", 5, 42)
DIGEST = [GOES_ON, incident(block(1, 0.971)), incident(document(), "resolved", 2, 3)]
HOSTILE_TEXT = st.text(max_size=300) | st.sampled_from(
    [
        "<!channel> <!here> <@U1> <https://evil.example|click>",
        "```\n<!channel>\n```",
        "*" * 700 + "`" * 700,
        "&" * 4000,
        "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m",
        "a\rb\r\nBcc: victim@example.org\n\nbody",
        "</pre><script>alert(1)</script><img src=x onerror=alert(1)>",
        "{{ 7 * 7 }} {% raw %} ${HOME} %s %(name)s {0}",
        "\u202egnirts desrever\u2066 \u200bhidden\ufeff\u2028",
        "日本語" * 200,
        "e\u0301" * 400,
        "half a character \ud83d",
        "x" * 20_000,
        "",
        " \t\n ",
        '"}, {"type": "image"',
    ]
)


def held_to(name, text):
    """Compare with the golden file; LOGAD_GOLDEN=write makes it anew."""
    path = GOLDEN / name
    if os.environ.get("LOGAD_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} differs; LOGAD_GOLDEN=write accepts the change"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_shows_findings_as_its_golden_file(width):
    held_to(f"findings_{width}.txt", RENDERER.findings(FOUND, SUMMARY, width, colour=False))


def test_the_terminal_in_colour_shows_the_same_words():
    coloured = RENDERER.findings(FOUND, SUMMARY, 80, colour=True)
    assert "\x1b[1;31mPAGE\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]+m", "", coloured) == RENDERER.findings(FOUND, SUMMARY, 80, colour=False)


def test_one_verdict_is_told_in_full_as_its_golden_file():
    held_to("finding_80.txt", RENDERER.finding(block(1, 0.971), 80, colour=False))


def test_a_clean_scan_says_so_and_what_was_checked():
    text = RENDERER.findings([], replace(SUMMARY, anomalous=0), 80, colour=False)
    held_to("clean_80.txt", text)
    assert text.startswith("Nothing stands out.")
    assert "11,501" in text
    assert "222,579" in text


@pytest.mark.parametrize(
    ("name", "one"),
    [("open", OPEN), ("goes_on", GOES_ON), ("resolved", OVER)],
    ids=lambda value: str(value)[:8],
)
def test_an_incident_looks_like_its_golden_files(name, one):
    message = RENDERER.mapping("slack.json.j2", [one], LINKS)
    held_to(f"slack_{name}.json", json.dumps(message, indent=2, ensure_ascii=False) + "\n")
    held_to(f"incident_{name}.txt", RENDERER.text("incident.txt.j2", [one], LINKS))
    held_to(f"email_{name}.html", RENDERER.text("email.html.j2", [one], LINKS))
    held_to(f"subject_{name}.txt", RENDERER.text("email_subject.txt.j2", [one], LINKS))


def test_a_digest_looks_like_its_golden_files():
    message = RENDERER.mapping("slack_digest.json.j2", DIGEST, LINKS)
    held_to("slack_digest.json", json.dumps(message, indent=2, ensure_ascii=False) + "\n")
    held_to("digest.txt", RENDERER.text("digest.txt.j2", DIGEST, LINKS))
    held_to("email_digest.html", RENDERER.text("email_digest.html.j2", DIGEST, LINKS))


@pytest.mark.parametrize("template", ["slack.json.j2", "incident.txt.j2", "email.html.j2"])
def test_a_message_says_what_where_since_when_how_sure_the_proof_and_what_next(template):
    text = RENDERER.text(template, [OPEN], {})
    text = html.unescape(" ".join(strings(json.loads(text))) if "json" in template else text)
    for part in (
        "datanode",
        "blk_-1608999687919862901",
        "2008-11-09 20:35:18 UTC",
        "1 in 48,000",
        "expected 3 → actual 2",
        "HDFS.log:4",
        f"logad explain {OPEN.id}",
        f"logad mute {OPEN.id}",
    ):
        assert part in " ".join(text.split()), part


@pytest.mark.parametrize("one", [OPEN, OVER], ids=["open", "resolved"])
def test_no_message_advises_a_command_that_does_not_exist(one):
    said = json.dumps(RENDERER.mapping("slack.json.j2", [one], {}))
    said += RENDERER.text("incident.txt.j2", [one], {}) + RENDERER.text("email.html.j2", [one], {})
    said += RENDERER.text("digest.txt.j2", [one, one], {}) + RENDERER.findings(
        FOUND, SUMMARY, 80, colour=False
    )
    assert set(re.findall(r"\blogad (\w+)", said)) <= set(cli.commands)


def test_only_web_addresses_become_links():
    for template in ("slack.json.j2", "incident.txt.j2", "email.html.j2"):
        text = RENDERER.text(template, [OPEN], LINKS)
        assert "javascript" not in text
        assert "wiki.example.org" in text
    assert "%7Cx|Runbook>" in json.dumps(RENDERER.mapping("slack.json.j2", [OPEN], LINKS))


def test_findings_stand_strangest_first_and_alike_ones_are_told_once():
    lines = RENDERER.findings(FOUND, SUMMARY, 80, colour=False).splitlines()
    scores = [float(line.split()[1]) for line in lines if re.match(r" \d  \d\.\d\d  ", line)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == sum(verdict.anomalous for verdict in FOUND) - 2
    assert sum("and 2 more like it" in line for line in lines) == 1


def test_a_flood_of_kinds_is_cut_short_and_says_so():
    many = [replace(hostile(f"kind {letter}"), id=letter * 32) for letter in "abcdefghijklmnopqrst"]
    many = [
        replace(one, reasons=tuple(replace(reason, template_id=one.id) for reason in one.reasons))
        for one in many
    ]
    text = RENDERER.findings(many, SUMMARY, 100, colour=False)
    assert "8 windows of 8 further kinds not shown here" in text


def test_a_log_line_cannot_hide_behind_another_source_or_document():
    verdict = block(1, 0.9)
    reason = replace(verdict.reasons[0], evidence=(Evidence("a", 7, "one"), Evidence("b", 7, "two")))
    text = RENDERER.findings([replace(verdict, reasons=(reason,))], SUMMARY, 80, colour=False)
    assert "a:7 │ one" in text
    assert "b:7 │ two" in text


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE_TEXT, width=st.integers(1, 250), colour=st.booleans())
@example(text="\x1b[31m", width=80, colour=True)
def test_no_escape_of_a_log_reaches_the_terminal_and_no_line_is_too_wide(text, width, colour):
    verdicts = [hostile(text), block(1, 0.8), replace(hostile(text), score=0.6)]
    summary = replace(SUMMARY, span=text, doubts=(text,), windowing=text)
    shown = RENDERER.findings(verdicts, summary, width, colour=colour)
    shown += RENDERER.finding(hostile(text), width, colour=colour)
    bare = re.sub(r"\x1b\[(?:0|1|2|1;31|1;33|33)m", "", shown) if colour else shown
    assert all(ord(character) >= 32 or character == "\n" for character in bare)
    assert not re.search("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", bare)
    if width >= 48:
        assert max(map(cells, bare.splitlines())) <= width
    shown.encode()


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE_TEXT)
def test_hostile_text_stays_text_in_slack_and_inside_its_limits(text):
    one = incident(hostile(text))
    for template, incidents in (("slack.json.j2", [one]), ("slack_digest.json.j2", [one] * 60)):
        message = RENDERER.mapping(template, incidents, {text: "https://example.org/?q=a|b`c*"})
        assert len(message["blocks"]) <= 50
        for said in strings(message):
            assert len(said) <= 3000
            assert not re.search(r"<(?!https://example\.org/)", said), said
            assert said.count("```") in {0, 2}
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", said)
            assert not re.search(r"&(?!amp;|lt;|gt;)", said)
        assert len(message["blocks"][0]["text"]["text"]) <= 150
        for part in message["blocks"]:
            assert len(part.get("fields", [])) <= 10
            assert all(0 < len(field["text"]) <= 2000 for field in part.get("fields", []))


@settings(max_examples=100, deadline=None)
@given(text=HOSTILE_TEXT)
def test_hostile_text_stays_text_in_html(text):
    one = incident(hostile(text))
    calm_tags = re.findall(r"<[^>]*>", RENDERER.text("email.html.j2", [incident(hostile("calm"))], {}))
    page = RENDERER.text("email.html.j2", [one], {})
    assert re.findall(r"</?(\w+)", page) == re.findall(r"</?(\w+)", "".join(calm_tags)) or not text.strip()
    assert "<script" not in page.lower()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200), width=st.integers(2, 60))
def test_wrapping_and_cutting_keep_the_width_and_the_text(text, width):
    text = plain(text)
    lines = wrapped(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert cells(cut(text, width)) <= width


@given(text=st.text())
def test_text_is_made_visible_once(text):
    assert visible(visible(text)) == visible(text)
    assert "\n" not in plain(text)


def test_a_template_that_does_not_compile_names_its_file_and_line(tmp_path):
    (tmp_path / "slack.json.j2").write_text("{}\n{% if %}\n")
    with pytest.raises(ConfigError) as error:
        Renderer([tmp_path])
    assert str(error.value).startswith(f"{tmp_path}/slack.json.j2:2: ")


def test_a_template_that_asks_for_what_is_not_there_names_its_file_and_line(tmp_path):
    (tmp_path / "incident.txt.j2").write_text("fine\n\n{{ incident.colour }}\n")
    with pytest.raises(ConfigError, match=r"incident\.txt\.j2:3: UndefinedError: .*colour"):
        Renderer([tmp_path]).text("incident.txt.j2", [OPEN], {})


def test_a_template_that_yields_no_json_is_a_configuration_error(tmp_path):
    (tmp_path / "slack.json.j2").write_text('{"text": {{ incident.title }}}')
    with pytest.raises(ConfigError, match=r"slack\.json\.j2: yields no JSON"):
        Renderer([tmp_path]).mapping("slack.json.j2", [OPEN], {})


def test_a_user_template_wins_and_the_others_stay(tmp_path):
    (tmp_path / "incident.txt.j2").write_text("{{ incident.service }} is odd")
    renderer = Renderer([tmp_path])
    assert renderer.text("incident.txt.j2", [OPEN], {}) == "datanode is odd"
    assert renderer.text("email_subject.txt.j2", [OPEN], {}).startswith("[logad] PAGE datanode")


def test_even_a_careless_user_template_passes_no_escape_sequence_on(tmp_path):
    (tmp_path / "incident.txt.j2").write_text("{{ incident.title }}")
    shown = Renderer([tmp_path]).text("incident.txt.j2", [incident(hostile("\x1b[2J"))], {})
    assert shown == "\\x1b[2J"


def test_a_template_that_is_nowhere_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"pager\.j2"):
        RENDERER.text("pager.j2", [OPEN], {})


def test_a_long_line_is_shown_from_where_it_says_what_the_reason_is_about():
    raw = '{"kubernetes": {"pod": {"name": "' + "x" * 200 + '"}}, "log": "cannot reach ledger at 10.0.0.7"}'
    verdict = block(1, 0.9)
    reason = replace(
        verdict.reasons[0], template="cannot reach ledger at <IP>", evidence=(Evidence("a", 7, raw),)
    )
    text = RENDERER.findings([replace(verdict, reasons=(reason,))], SUMMARY, 80, colour=False)
    assert '7 │ …cannot reach ledger at 10.0.0.7"}' in text
