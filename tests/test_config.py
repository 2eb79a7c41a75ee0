"""One file and the environment make settings; every fault is told at once, no secret ever."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from logad import config, registry, rules
from logad.config import commented, digest, load, schema
from logad.contracts import PartConfig
from logad.errors import ConfigError
from logad.settings import ReadingSettings, Settings, WindowSettings
from logad.yaml_lines import parse

HOME = {"HOME": "/home/ada"}
WEBHOOK = "https://hooks.slack.com/services/T0/B0/WXYZSECRET"
SECRET = "WXYZSECRET"


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "logad.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def problems(path, environ=HOME):
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    assert caught.value.problems
    assert caught.value.problems[0] in str(caught.value)
    return [problem.replace(f"{path}:", "") for problem in caught.value.problems]


def test_without_a_file_the_defaults_stand():
    loaded = load(None, HOME)
    assert loaded == Settings(state_dir=Path("/home/ada/.local/state/logad"))
    assert load(None, {**HOME, "XDG_STATE_HOME": "/state"}).state_dir == Path("/state/logad")


def test_a_whole_file_becomes_settings_of_the_parts_own_kinds(write, tmp_path):
    path = write(
        f"""
sources: [app.log, /var/log/shop]
source_options: {{opensearch: {{user: ada, password: "${{PASSWORD}}"}}}}
reading: {{timezone: Europe/Berlin}}
windows: {{window: 1h, session_timeout: 90s}}
detectors: {{pca: {{variance: 0.9}}, volume: false, isolation_forest: }}
alerting: {{budget_per_day: 2}}
notifiers:
- type: slack
  webhook: ${{SLACK_WEBHOOK}}
- {{type: stdout}}
sinks: [{{type: sqlite, path: {tmp_path}/v.sqlite}}]
rules: [rules]
redaction: {{patterns: {{pin: 'pin=(\\d+)'}}}}
state_dir: ~/logad
"""
    )
    loaded = load(path, {**HOME, "SLACK_WEBHOOK": WEBHOOK, "PASSWORD": SECRET})
    assert loaded.sources == ("app.log", "/var/log/shop")
    assert loaded.source_options["opensearch"].password.get_secret_value() == SECRET
    assert loaded.windows == WindowSettings(window="60m", session_timeout="1m30s")
    assert loaded.detectors["volume"] is None
    assert loaded.detectors["pca"] == registry.part("detectors", "pca").Config(variance=0.9)
    assert loaded.detectors["isolation_forest"] == registry.part("detectors", "isolation_forest").Config()
    assert isinstance(loaded.notifiers[0].config, registry.part("notifiers", "slack").Config)
    assert loaded.notifiers[0].config.webhook.get_secret_value() == WEBHOOK
    assert [choice.type for choice in (*loaded.notifiers, *loaded.sinks)] == ["slack", "stdout", "sqlite"]
    assert loaded.rules == (Path("rules"),)
    assert loaded.redaction.patterns == {"pin": r"pin=(\d+)"}
    assert loaded.state_dir == Path("~/logad").expanduser()
    assert SECRET not in repr(loaded)
    assert SECRET not in loaded.model_dump_json()


def test_every_fault_is_told_at_once_in_the_order_of_the_file(write):
    told = problems(
        write(
            """\
windos: {}
windows:
  window: 5 minutes
  window_recrods: 5
detectors:
  pca:
    variance: 7
  pcb: false
alerting:
  budget_per_day: ${NOPE}
notifiers:
- type: slak
- 5
- {type: email, host: x}
sinks: 7
reading:
  multiline: "(?=x)"
  encoding: 7
redaction: [1]
state_dir: {}
"""
        )
    )
    starts = [
        "1: windos: found an unknown key; expected one of sources, ",
        "3: windows.window: found '5 minutes'; expected a duration such as 90s",
        "4: windows.window_recrods: found an unknown key; expected one of window, ",
        "7: detectors.pca.variance: found 7; expected less than 1",
        "8: detectors.pcb: found no part is called 'pcb'; expected one of ",
        "10: alerting.budget_per_day: found ${NOPE}, which is not set; expected a variable of the environment",
        "12: notifiers[0].type: found no part is called 'slak'; expected one of ",
        "13: notifiers[1]: found 5; expected a mapping whose `type` is one of ",
        "14: notifiers[2].sender: found nothing; expected a value",
        "14: notifiers[2].recipients: found nothing; expected a value",
        "15: sinks: found 7; expected a list",
        "17: reading.multiline: found '(?=x)' (look-around, ",
        "18: reading.encoding: found 7; expected a text; put it in quotes",
        "19: redaction: found a list; expected a mapping",
        "20: state_dir: found a mapping; expected ",
    ]
    assert len(told) >= len(starts)
    for start in starts:
        assert [problem for problem in told if problem.startswith(start)], (start, told)
    hints = {"1": "windows", "4": "window_records", "8": "pca", "12": "slack"}
    for line, hint in hints.items():
        assert any(
            problem.startswith(f"{line}: ") and problem.endswith(f"did you mean {hint}?") for problem in told
        )
    lines = [int(problem.split(":")[0]) for problem in told]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2", "expected YAML"),
        ("a: 1\n\ta: 2", "expected YAML"),
        ("- a", "1: found a list; expected a mapping of sections"),
        ("just words", "1: found 'just words'; expected a mapping of sections"),
        ("windows: {}\nwindows: {}", "2: windows: found the key twice"),
        ("rules: &a [x]\ntemplates: *a", "1: found an anchor or alias"),
        ("a: !!python/object/apply:os.system [true]", "found the tag"),
        ("{[1]: 2}", "1: found a list or mapping as a key"),
        ("windows: {}\n---\nwindows: {}", "expected YAML"),
        ("a: \x07", "U+0007"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_line(write, text, expected):
    assert expected in problems(write(text))[0]


def test_a_file_that_cannot_be_read_is_named(tmp_path, write):
    for path, found in [(tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory")]:
        with pytest.raises(ConfigError, match=found) as caught:
            load(path, HOME)
        assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(write(b"a: \xff\xfe"), HOME)


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"%@`#\n \t0$?,~"), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_settings_or_a_config_error(write, text):
    try:
        load(write(text), HOME)
    except ConfigError as error:
        told = error.problems
    else:
        return
    assert told
    assert all("\n" not in problem for problem in told)


def test_words_mean_what_they_look_like():
    text = "{a: no, b: 12:30, c: 2024-01-01, d: 007, e: true, f: 1e3, g: '5', h: ~, i: 0x10, j: 5/day}"
    assert parse(text, None).value == {
        "a": "no",
        "b": "12:30",
        "c": "2024-01-01",
        "d": "007",
        "e": True,
        "f": 1000.0,
        "g": "5",
        "h": None,
        "i": "0x10",
        "j": "5/day",
    }


# The environment


def test_the_environment_stands_over_the_file(write):
    path = write(
        "windows: {window: 5m}\nsources: [a.log]\nnotifiers: [{type: slack, webhook: 'https://x.example/'}]"
    )
    environ = {
        **HOME,
        "LOGAD__WINDOWS__WINDOW": "1h",
        "LOGAD__WINDOWS__SESSION_TIMEOUT": "7s",
        "LOGAD__SOURCES__1": "[b].log",
        "LOGAD__DETECTORS__NORMAL_CORE": "false",
        "LOGAD__DETECTORS__PCA__VARIANCE": "0.5",
        "LOGAD__NOTIFIERS__0__WEBHOOK": WEBHOOK,
        "LOGAD__NOTIFIERS__1__TYPE": "stdout",
        "LOGAD__RULES": "[one, two]",
        "LOGAD__ALERTING__BUDGET_PER_DAY": "9",
        "LOGAD__READING__SERVICE_FIELD": "7",
        "LOGAD__READING__MULTILINE": "[a-z]",
        "OTHER": "x",
    }
    loaded = load(path, environ)
    assert loaded.windows == WindowSettings(window="60m", session_timeout="7s")
    assert loaded.sources == ("a.log", "[b].log")
    assert loaded.detectors == {
        "normal_core": None,
        "pca": registry.part("detectors", "pca").Config(variance=0.5),
    }
    assert loaded.notifiers[0].config.webhook.get_secret_value() == WEBHOOK
    assert loaded.notifiers[1].type == "stdout"
    assert loaded.rules == (Path("one"), Path("two"))
    assert loaded.alerting.budget_per_day == 9
    assert loaded.reading == ReadingSettings(service_field="7", multiline="[a-z]")


def test_a_fault_of_the_environment_names_the_variable(write):
    path = write("windows:\n  window: 5 minutes\nsources: [a.log]\n")
    environ = {
        **HOME,
        "LOGAD__WINDOWS__SESSION_TIMEOUT": "-3s",
        "LOGAD__WINDOS__WINDOW": "5m",
        "LOGAD__SOURCES__5": "b.log",
        "LOGAD__DETECTORS__PCA__VARIANCE": "much",
    }
    told = problems(path, environ)
    assert sorted(problem.split(": ")[0] for problem in told) == [
        "2",
        "LOGAD__DETECTORS__PCA__VARIANCE",
        "LOGAD__SOURCES__5",
        "LOGAD__WINDOS__WINDOW",
        "LOGAD__WINDOWS__SESSION_TIMEOUT",
    ]


# Secrets


def test_a_secret_can_stand_in_a_file(write, tmp_path):
    kept = tmp_path / "password"
    kept.write_text("hunter2\n")
    path = write(f"source_options: {{opensearch: {{user: ada, password_file: {kept}}}}}")
    assert load(path, HOME).source_options["opensearch"].password.get_secret_value() == "hunter2"
    kept.unlink()
    assert "password_file: found" in problems(path)[0]
    assert "no such file" in problems(path)[0]
    path = write(f"source_options: {{opensearch: {{password: x, password_file: {kept}}}}}")
    assert "expected one of them" in problems(path)[0]


@pytest.mark.parametrize(
    "text",
    [
        "notifiers: [{type: slack, webhook: 'ftp://%s'}]",
        "notifiers: [{type: slack, webhook: ['%s']}]",
        "notifiers: [{type: slack, webhok: 'https://x.example/%s'}]",
        "notifiers: [{type: slack, webhook: 'https://x.example/%s', timeout_seconds: -1}]",
        "notifiers: [{type: slack, webhook: '${V}', webhook_file: x}]",
        "notifiers: [{type: '${V}'}]",
        "notifiers: [{type: email, host: h, sender: '${V}', recipients: ['${V}'], password: '%s'}]",
        "windows: {window: '${V}', session_regex: '(${V}'}",
        "alerting: {budget_per_day: '${V}'}",
        "sources: {a: '%s'}",
        "source_options: {opensearch: {password: {x: '%s'}}}",
        "sinks: [{type: opensearch, url: 'https://ada:%s@x.example', index: [1]}]",
        "sinks: [{type: sqlite, path: ['https://ada:%s@x.example']}]",
        "reading: {timezone: ['${V}']}",
        "notifiers: https://ada:%s@x.example/",
        "state_dir: ['${V}']",
    ],
)
def test_no_fault_shows_a_secret(write, text):
    path = write(text.replace("%s", SECRET))
    with pytest.raises(ConfigError) as caught:
        load(path, {**HOME, "V": SECRET, "LOGAD__READING__ENCODING": "[1]"})
    shown = [*caught.value.problems, str(caught.value), repr(caught.value), repr(caught.value.__context__)]
    assert all(SECRET not in each for each in shown), shown


@given(
    st.dictionaries(st.sampled_from(["A", "B", "C_1"]), st.text(max_size=8)),
    st.text("${}ABC_1 x", max_size=20),
)
def test_variables_stand_for_their_text_and_for_nothing_else(environ, text):
    document = parse(f"v: {json.dumps(text)}", environ)
    names = re.findall(r"\$\$|\$\{([^}]*)\}", text)
    missing = [name for name in names if name and name not in environ]
    assert len(document.faults) >= len(missing)
    if not document.faults:
        expected = re.sub(
            r"\$\$|\$\{([^}]*)\}", lambda match: "$" if match[1] is None else environ[match[1]], text
        )
        assert document.value == {"v": expected}


# What init writes, and the schema


PLACEHOLDERS = {"EMAIL_SENDER": "logad@example.org", "EMAIL_RECIPIENTS": "ops@example.org"}


def environment_of(text):
    names = re.findall(r"\$\{(\w+)\}", text)
    return {**HOME, **{name: PLACEHOLDERS.get(name, "https://x.example/") for name in names}}


def uncommented(text):
    return "\n".join(re.sub(r"^#(?! \S)", "", line) for line in text.splitlines())


def test_the_file_that_init_writes_changes_nothing(write):
    assert load(write(commented()), HOME) == load(None, HOME)


def test_without_its_comment_signs_it_is_valid_and_still_the_default(write, monkeypatch):
    text = uncommented(commented())
    environ = environment_of(text)
    monkeypatch.setenv("HOME", environ["HOME"])
    loaded = load(write(text), environ)
    default = load(None, HOME)
    assert {choice.type for choice in loaded.notifiers} == set(registry.names("notifiers"))
    assert {choice.type for choice in loaded.sinks} == set(registry.names("sinks"))
    assert loaded.detectors.keys() == set(registry.names("detectors"))
    for section in (
        "sources",
        "reading",
        "windows",
        "alerting",
        "rules",
        "templates",
        "redaction",
        "state_dir",
    ):
        assert getattr(loaded, section) == getattr(default, section)
    assert digest(loaded) == digest(default)


def test_every_option_of_every_part_stands_in_it():
    document = yaml.safe_load(uncommented(commented()))
    for kind in ("notifiers", "sinks"):
        for entry in document[kind]:
            fields = registry.part(kind, entry["type"]).Config.model_fields
            assert entry.keys() == {"type", *fields}
    for kind, section in (("detectors", "detectors"), ("sources", "source_options")):
        for name, options in document[section].items():
            assert options.keys() == registry.part(kind, name).Config.model_fields.keys()
    assert document.keys() == Settings.model_fields.keys()


def test_the_schema_knows_every_section_part_and_option():
    told = schema()
    assert told["properties"].keys() == Settings.model_fields.keys()
    assert told["additionalProperties"] is False
    assert told["properties"]["detectors"]["properties"].keys() == set(registry.names("detectors"))
    for kind in ("notifiers", "sinks"):
        shapes = told["properties"][kind]["items"]["anyOf"]
        assert {shape["properties"]["type"]["const"] for shape in shapes} == set(registry.names(kind))
        for shape in shapes:
            fields = registry.part(kind, shape["properties"]["type"]["const"]).Config.model_fields
            assert shape["properties"].keys() >= fields.keys()
    references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(told)))
    assert references <= told["$defs"].keys()


def test_the_text_under_a_field_describes_it_in_the_schema_and_in_the_file():
    text = "Replace secrets in evidence and reasons before they are stored or sent."
    assert schema()["$defs"]["logad__redaction__Config"]["properties"]["enabled"]["description"] == text
    assert f"# {text}" in commented().splitlines()


def test_a_field_has_the_text_of_the_class_it_comes_from_unless_it_has_a_description():
    class Above(PartConfig):
        size: int = 1
        """How large it is."""
        name: str = Field(default="", description="How it is called.")
        """Not this."""

    class Below(Above):
        size: int = 2

    assert Below.descriptions() == {"size": "How large it is.", "name": "How it is called."}


# The digest


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("windows: {window: 5m}", True),
        ("reading: {timezone: Europe/Berlin}", True),
        ("detectors: {pca: {variance: 0.5}}", True),
        ("detectors: {pca: false}", True),
        ("detectors: {pca: {variance: 0.95}}", False),
        ("alerting: {budget_per_day: 1}", False),
        ("sources: [a.log]", False),
        ("notifiers: [{type: stdout}]", False),
        ("state_dir: /tmp", False),
    ],
)
def test_the_digest_changes_with_what_influences_verdicts_alone(write, text, counts):
    assert (digest(load(write(text), HOME)) != digest(load(None, HOME))) == counts


def test_the_digest_of_rules_changes_with_a_mask_and_not_with_a_mute(tmp_path):
    before = rules.digest(rules.load())
    samples = "matches: ['a TICKET-1'], misses: ['none']"
    mask = f"- {{name: mine, regex: 'TICKET-\\d+', placeholder: <TICKET>, {samples}}}\n"
    (tmp_path / "masks.yaml").write_text(mask)
    one = rules.digest(rules.load([tmp_path]))
    (tmp_path / "mutes.yaml").write_text("- {name: quiet, service: nothing, reason: known}\n")
    assert one != before
    assert rules.digest(rules.load([tmp_path])) == one


def test_equal_durations_are_equal(write):
    assert digest(load(write("windows: {window: 60m}"), HOME)) == digest(
        load(write("windows: {window: 1h}"), HOME)
    )


def test_only_the_parts_that_are_named_are_imported(write):
    import subprocess  # noqa: PLC0415  (this test alone)
    import sys  # noqa: PLC0415

    path = write("sinks: [{type: sqlite, path: v}]\ndetectors: {pca: true}")
    program = (
        "import pathlib, sys; from logad.config import load\n"
        "load(pathlib.Path(sys.argv[1]), {'HOME': '/'})\n"
        "print([name for name in sys.modules if name in ('sklearn', 'slack_sdk', 'opensearchpy', 'jinja2')"
        " or name.startswith('logad.notify.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_names_that_others_use_are_there():
    assert {"load", "schema", "commented", "digest", "Settings", "default_state_dir"} <= set(config.__all__)
