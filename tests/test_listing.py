"""What `templates` lists: parameters with types and without secrets, and which template became which."""

import csv
import io
import json

from command import parsed, ran, wrote

import logad

WORDS = ["ant", "bee", "cat", "dog", "eel", "fox"]


def fed(folder):
    lines = [f"2024-03-04 00:00:0{number} INFO fed the {word}" for number, word in enumerate(WORDS)]
    return wrote(folder / "app.log", lines)


def test_parameters_tell_types_units_and_quantiles(tmp_path):
    log = wrote(
        tmp_path / "app.log", [f"took {n} ms for {n % 3} of {n}% at 10.0.0.{n % 4}" for n in range(1, 101)]
    )
    (template,) = parsed(ran("templates", log, "--format", "jsonl", state=tmp_path).stdout)
    took, few, share, place = template["parameters"]
    assert (took["type"], took["unit"], took["min"], took["max"]) == ("duration", "s", 0.001, 0.1)
    assert abs(took["quantiles"]["0.5"] - 0.05) <= 0.0006
    assert (took["count"], took["distinct"]) == (100, 100)
    assert (few["type"], few["distinct"], sorted(few["values"])) == ("number", 3, ["0", "1", "2"])
    assert (share["type"], share["max"]) == ("percentage", 100.0)
    assert (place["type"], place["placeholder"], place["distinct"]) == ("ip", "<IP>", 4)
    assert "quantiles" not in place


def test_no_parameter_shows_a_secret(tmp_path):
    log = wrote(
        tmp_path / "app.log", [f"login {n} password=hunter{n}x by ann{n}@example.org" for n in range(30)]
    )
    out = ran("templates", log, "--format", "jsonl", state=tmp_path).stdout
    assert parsed(out)[0]["count"] == 30
    assert "hunter" not in out
    assert "@example.org" not in out


def test_what_a_parameter_costs_is_bounded(tmp_path):
    log = wrote(tmp_path / "app.log", [f"took {n} ms" for n in range(20_000)])
    (template,) = logad.templates(log, state_dir=tmp_path).templates
    assert template.count == 20_000
    assert len(template.texts) <= 1_200


def test_lineage_tells_which_template_became_which_and_when(tmp_path):
    log = fed(tmp_path)
    (template,) = logad.templates(log, state_dir=tmp_path).templates
    told = parsed(ran("templates", log, "--lineage", "--format", "jsonl", state=tmp_path).stdout)
    assert {each["was"] for each in told} == set(template.aliases)
    assert {each["became"] for each in told} == {template.template.template_id}
    assert {each["when"] for each in told} == {"2024-03-04T00:00:04.000Z"}
    assert all(list(each) == ["schema", "was", "became", "when", "reason"] for each in told)
    assert {each["schema"] for each in told} == {"logad.lineage/1"}
    assert json.loads(ran("templates", log, "--lineage", "--format", "json", state=tmp_path).stdout) == told
    rows = csv.DictReader(
        io.StringIO(ran("templates", log, "--lineage", "--format", "csv", state=tmp_path).stdout)
    )
    assert [row["was"] for row in rows] == [each["was"] for each in told]
    text = ran("templates", log, "--lineage", state=tmp_path).stdout.splitlines()
    assert len(text) == len(told)
    assert text[0].startswith(f"2024-03-04 00:00:04 UTC  {told[0]['was']} -> {told[0]['became']}  ")
    assert text[0].endswith("fed the <*>")


def test_templates_that_stayed_as_they_were_have_no_lineage(tmp_path):
    log = wrote(tmp_path / "app.log", ["took 5 ms", "took 7 ms"])
    assert ran("templates", log, "--lineage", state=tmp_path).stdout == ""
