"""Parameters of templates: sketches keep their bounds, merge in any order, stay small and hide secrets."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.parameters import Parameter, Sketches, parameters, values
from logad.redaction import Redactor
from logad.sketches import (
    LARGEST,
    LONGEST_VALUE,
    MOST_HASHES,
    MOST_VALUES,
    RELATIVE_ERROR,
    SMALLEST,
    Distinct,
    Frequent,
    Numbers,
    hashed,
)

SIZES = st.floats(SMALLEST, LARGEST)
NUMBERS = st.one_of(SIZES, SIZES.map(lambda number: -number), st.just(0.0), st.integers(-999, 999).map(float))
WORDS = st.text("abc", max_size=3)
KINDS = [
    (Numbers, NUMBERS, lambda values: Numbers.of(np.array(values, dtype=np.float64))),
    (Frequent, WORDS, lambda values: Frequent.of(pl.Series(values, dtype=pl.String))),
    (Distinct, st.text(max_size=5), lambda values: Distinct.of(pl.Series(values, dtype=pl.String))),
]


@pytest.mark.parametrize(("kind", "element", "of"), KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_merging_is_commutative_associative_and_the_same_as_all_at_once(kind, element, of, data):
    parts = [data.draw(st.lists(element, max_size=30)) for _ in range(3)]
    one, two, three = map(of, parts)
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(two).merge(three) == of([value for part in parts for value in part])
    assert one.merge(kind()) == one


@pytest.mark.parametrize(("kind", "element", "of"), KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_a_sketch_comes_back_exactly_from_json(kind, element, of, data):
    sketch = of(data.draw(st.lists(element, max_size=30)))
    assert kind.from_dict(json.loads(json.dumps(sketch.as_dict()))) == sketch


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_off_by_no_more_than_one_percent(numbers, share):
    true = sorted(numbers)[int(share * (len(numbers) - 1))]
    told = Numbers.of(np.array(numbers)).quantile(share)
    assert abs(told - true) <= RELATIVE_ERROR * 1.000001 * abs(true)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50))
def test_any_numbers_at_all_are_survived_and_their_ends_are_exact(numbers):
    sketch = Numbers.of(np.array(numbers, dtype=np.float64))
    finite = [number for number in numbers if np.isfinite(number)]
    assert sketch.count == len(finite)
    assert sum(sketch.buckets.values()) == len(finite)
    if finite:
        assert (sketch.minimum, sketch.maximum) == (min(finite), max(finite))
        assert sketch.minimum <= sketch.quantile(0.5) <= sketch.maximum


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), max_size=400), min_size=1, max_size=6))
def test_a_frequent_values_count_is_never_too_high_nor_lower_than_promised(parts):
    sketch = Frequent()
    for part in parts:
        sketch = sketch.merge(Frequent.of(pl.Series([str(value) for value in part], dtype=pl.String)))
    true = Counter(str(value) for part in parts for value in part)
    assert len(sketch.counts) <= MOST_VALUES
    assert sketch.missed <= true.total() / (MOST_VALUES + 1)
    for value, count in true.items():
        assert count - sketch.missed <= sketch.counts.get(value, 0) <= count


def test_frequent_values_commute_and_keep_their_bound_however_they_are_grouped_once_values_are_dropped():
    parts = [pl.Series([str(n * n % (907 + 7 * k)) for n in range(900)] + ["often"] * 90) for k in range(4)]
    one, two, three, four = map(Frequent.of, parts)
    assert all(each.missed > 0 for each in (one, two, three, four))
    assert one.merge(two) == two.merge(one)
    true = Counter(value for part in parts for value in part)
    for sketch in (
        one.merge(two).merge(three).merge(four),
        one.merge(two.merge(three.merge(four))),
        one.merge(two).merge(three.merge(four)),
    ):
        assert sketch.missed <= true.total() / (MOST_VALUES + 1)
        assert len(sketch.counts) <= MOST_VALUES
        assert min(sketch.counts.values()) > 0
        assert all(
            count - sketch.missed <= sketch.counts.get(value, 0) <= count for value, count in true.items()
        )


@pytest.mark.parametrize("many", [10, MOST_HASHES, 1_000, 30_000])
def test_different_values_are_counted_exactly_while_few_and_within_four_standard_errors_beyond(many):
    sketch = Distinct.of(pl.Series([f"user-{number}" for number in range(many)] * 2))
    error = 0 if many < MOST_HASHES else 4 / (MOST_HASHES - 2) ** 0.5
    assert abs(sketch.estimate - many) <= error * many


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=50))
def test_different_texts_have_different_hashes_wherever_they_stand(texts):
    hashes = hashed(pl.Series(texts, dtype=pl.String)).tolist()
    assert len(set(hashes)) == len(texts)
    assert hashed(pl.Series(texts[::-1], dtype=pl.String)).tolist() == hashes[::-1]


def test_texts_that_only_end_differently_in_nothings_differ_in_their_hashes():
    assert len(set(hashed(pl.Series(["", "\0", "\0\0", "a", "a\0"])).tolist())) == 5


def test_hashes_are_spread_evenly():
    hashes = hashed(pl.Series([str(number) for number in range(20_000)]))
    for shift in (0, 20, 40, 56):
        counts = np.bincount(((hashes >> np.uint64(shift)) & np.uint64(0xFF)).astype(np.int64), minlength=256)
        assert (((counts - counts.mean()) ** 2) / counts.mean()).sum() < 400  # chi-squared, 255 degrees


def test_a_million_different_values_take_no_more_memory_than_the_bounds_say():
    numbers = np.geomspace(1e-12, 1e21, 500_000)
    bare = Numbers.of(np.concatenate([numbers, -numbers]))
    assert len(bare.buckets) <= 6221
    texts = pl.Series("t", np.arange(1_000_000)).cast(pl.String)
    place = Parameter.of("<*>", texts.head(10_000) + "x" * 300)
    frequent, distinct = place.frequent, Distinct.of(texts)
    assert len(frequent.counts) <= MOST_VALUES
    assert all(len(value) <= LONGEST_VALUE for value in frequent.counts)
    assert len(distinct.hashes) == 8 * MOST_HASHES
    assert abs(distinct.estimate - 1_000_000) < 250_000
    assert len(json.dumps(place.as_dict())) < 40_000


def test_the_same_values_give_the_same_sketch_in_another_process():
    code = (
        "import polars as pl, json; from logad.parameters import Parameter; "
        "print(json.dumps(Parameter.of('<*>', pl.Series([f'é{n}' for n in range(999)])).as_dict()))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("texts", "type_", "unit", "largest"),
    [
        (["5 ms", "71 ms", "2 s"], "duration", "s", 2.0),
        (["5m", "90s"], "duration", "s", 300.0),
        (["8.8 KB", "512 B", "1MiB"], "size", "B", 1024.0**2),
        (["3 MB/s", "10 kB/sec"], "rate", "B/s", 3 * 1024.0**2),
        (["12%", "99.5 %"], "percentage", "%", 99.5),
        (["-3", "4e2", "17"], "number", "", 400.0),
    ],
)
def test_numbers_are_told_in_one_unit(texts, type_, unit, largest):
    place = Parameter.of("<NUM>", pl.Series(texts))
    assert (place.type, place.unit, place.numbers[unit].maximum) == (type_, unit, largest)
    assert place.told()["max"] == largest


def test_what_is_no_number_is_told_by_its_values():
    place = Parameter.of("<NUM>", pl.Series(["1.2.3", "1, 2, 3", "12345678901234567890", "5 parsecs"]))
    assert (place.type, place.numbers) == ("text", {})
    assert Parameter.of("<IP>", pl.Series(["10.0.0.1"])).type == "ip"
    assert Parameter.of("<ID>", pl.Series(["17"])).numbers == {}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["got", "a+b", "(x)", "[y]:", "é", "z.", "<", "L1"]), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 9999), st.from_regex(r"[a-z]{1,5}", fullmatch=True)), min_size=1, max_size=5
    ),
)
def test_values_are_read_back_wherever_they_stand(words, pairs):
    template = f"{' '.join(words)} <NUM> of <*> {words[0]}"
    texts = pl.Series([f"{' '.join(words)} {number} of {word} {words[0]}" for number, word in pairs])
    numbers, names = values(template, texts)
    assert numbers.to_list() == [str(number) for number, _ in pairs]
    assert names.to_list() == [word for _, word in pairs]


def test_templates_without_bounds_are_read_as_far_as_the_bounds_go():
    many = " ".join(["<NUM>"] * 300)
    assert len(parameters(many, pl.Series([" ".join(map(str, range(300)))]))) == 50
    assert parameters("x" * 1_000_000 + " <NUM>", pl.Series(["x" * 1_000_000 + " 5"])) == ()
    assert parameters("nothing varies (a+b)", pl.Series(["nothing varies (a+b)"])) == ()


def test_secrets_are_in_no_sketch():
    texts = pl.Series([f"login of ann{n}@example.org with password=hunter{n}" for n in range(20)])
    found = parameters("login of <EMAIL> with password=<*>", texts, Redactor().text)
    told = json.dumps([[place.as_dict(), place.told()] for place in found])
    assert "hunter" not in told
    assert "example.org" not in told
    assert found[1].frequent.ranked() == [("<redacted:password>", 20)]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["took <NUM>", "from <IP>", "plain"]), st.integers(0, 99)), max_size=30
    )
)
def test_sketches_of_parts_are_those_of_the_whole_and_come_back_from_json(rows):
    templates = pl.Series([template for template, _ in rows], dtype=pl.String)
    texts = pl.Series(
        [template.replace("<NUM>", f"{n} ms").replace("<IP>", f"10.0.0.{n}") for template, n in rows],
        dtype=pl.String,
    )
    whole = Sketches.of(templates, texts)
    half = len(rows) // 2
    parts = Sketches.of(templates[:half], texts[:half]).update(templates[half:], texts[half:])
    assert parts == whole
    assert Sketches.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole
    assert "plain" not in whole.templates


def test_sketches_of_another_version_are_refused():
    with pytest.raises(ValueError, match=r"logad\.parameters/9"):
        Sketches.from_dict({"schema": "logad.parameters/9", "templates": {}})
