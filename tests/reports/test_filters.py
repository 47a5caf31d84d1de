from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import BenchmarkError
from reports.filters import DEEPEST, LONGEST, parse_filter
from reports.rows import Row, flatten


@pytest.fixture
def row(result) -> Row:
    made = result("hsa:confidence", 2, 0.75, dataset="tissue", oracle=["noise_rate"], metrics={"aux/m1/nll": 0.3, "clean_kept/0": 0.9})
    made["spec"]["method"]["params"] = {"weighting": "confidence", "noise_rate": "auto", "rounds": 2, "per_class": False, "file": None}
    made["spec"]["noise"]["params"] = {"rate": 0.4, "inclusive": True}
    made["spec"]["dataset"]["params"] = {"n": 1600, "image_size": 16}
    made["noise"]["nominal_rate"] = 0.4
    made["metrics"]["selected"]["auroc"] = None
    return flatten(made)


@pytest.mark.parametrize(
    "text",
    [
        'dataset == "tissue" and rate <= 0.4',
        'dataset in ("tissue", "digits")',
        'dataset not in ["digits"]',
        'method == "hsa"',
        'method == "hsa:confidence"',
        '"hsa" == method',
        'method != "elr"',
        'noise == "symmetric"',
        'noise == "symmetric:0.4"',
        "seed in (1, 2)",
        "0.1 < rate <= 0.4 < epochs",
        "not rate > 0.4",
        'task == "classification" and status == "done"',
        'protocol == "quick" and backbone == "cnn_small" and epochs == 30',
        "oracle and not stale and not tuned and solvable",
        "oracle == True",
        "selected/accuracy > 0.7",
        "selected/accuracy >= last/accuracy",
        "aux/m1/nll == 0.3",
        "clean_kept/0 > 0.8",
        "selected/auroc == None",
        "selected/nll != None",
        'method.weighting == "confidence"',
        "method.rounds > 1",
        "method.noise_rate != 0.2",
        'method.noise_rate == "auto"',
        "method.file == None",
        "not method.per_class",
        "noise.inclusive",
        "dataset.image_size == 16 and dataset.subset == 1",
        "protocol.lr < 0.01 and protocol.weight_decay >= -1",
        '(rate > 0.5 or\n  (dataset == "tissue"))  # the rest',
    ],
)
def test_what_matches(row, text) -> None:
    assert parse_filter(text).matches(row)
    assert not parse_filter(f"not ({text.partition('#')[0]})").matches(row)


@pytest.mark.parametrize(
    "text",
    [
        'method == "hs"',
        'method != "hsa"',
        'method not in ("hsa", "elr")',
        "rate > 0.4",
        "seed == 0",
        "selected/auroc > 0",
        "selected/auroc <= 0",
        "selected/auroc != 0.5",
        "selected/auroc not in (0.5, 0.6)",
        "selected/nothing < 1",
        "method.rounds == True",
        'method.rounds == "2"',
        "method.absent == 1",
        "method.absent != 1",
        "method.per_class",
        "rate in ()",
    ],
)
def test_what_does_not(row, text) -> None:
    assert not parse_filter(text).matches(row)


def test_the_nominal_rate(result) -> None:
    clean, joined, old = result(noise="none"), result(), result()
    clean["spec"]["noise"]["name"] = "none"
    joined["spec"]["noise"] |= {"name": "symmetric+human", "parts": [{"name": "symmetric", "params": {"rate": 0.3}}, {"name": "human"}]}
    joined["noise"]["nominal_rate"] = None
    old["spec"]["noise"]["params"] = {"rate": 0.25}
    assert parse_filter("rate == 0").matches(flatten(clean))
    assert parse_filter("rate == None and noise.rate == 0.3").matches(flatten(joined))
    assert parse_filter("rate == 0.25").matches(flatten(old))


def test_missing_is_never_compared_but_found(result) -> None:
    row = flatten(result(solvable=None))
    assert not parse_filter("solvable == False").matches(row)
    assert not parse_filter("solvable != False").matches(row)
    assert not parse_filter("solvable").matches(row)
    assert parse_filter("solvable == None").matches(row)
    assert parse_filter("None == solvable").matches(row)
    assert not parse_filter("solvable != None").matches(row)


def test_keep_and_names(result, row) -> None:
    rows = [row, flatten(result("elr"))]
    found = parse_filter('method == "hsa" or aux/m1/nll < 1 and method.rounds > 1 and method == "elr"')
    assert found.names == ("method", "aux/m1/nll", "method.rounds")
    assert found.keep(rows) == [row]
    assert parse_filter("seed > 100").keep(rows) == []
    assert found.keep([]) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the filter is empty; write e.g."),
        (" \n", "the filter is empty"),
        ("rate <", "the filter cannot be read at character 6, '<': "),
        ("dataset = 'x'", "the filter cannot be read at character"),
        ("rate < 'x'", "the filter, character 8: ''x'' is no number, but rate < … needs one"),
        ("'x' < rate", "character 1: ''x'' is no number"),
        ("rate == '0.2'", "character 9: ''0.2'' is text, but rate holds a number"),
        ("é == 1", "unknown name in the filter 'é'"),
        ("(dataset == 'é' and\r\n rate == 'x')", "character 30: ''x'' is text"),
        ("dataset == 'é' and rate == 'x'", "character 28: ''x'' is text"),
        ("dataset == 3", "character 12: '3' is a number, but dataset holds text"),
        ("stale == 'yes'", "is text, but stale holds true or false"),
        ("seed in (1, 'a')", "character 13: ''a'' is text, but seed holds a number"),
        ("dataset < 'x'", "character 1: 'dataset' holds text, so < says nothing of it; use == or in"),
        ("oracle > 0", "'oracle' holds true or false, so > says nothing"),
        ("rate", "character 1: 'rate' holds a number and is no condition by itself; compare it"),
        ("selected/accuracy", "holds a number and is no condition"),
        ("1 < 2", "character 1: '1' is compared with a value; one side must be a name"),
        ("True", "'True' is no condition"),
        ("datset == 'x'", "unknown name in the filter 'datset'; did you mean 'dataset'"),
        ("dataset == tissue", 'character 12 of the filter; text needs quotes: "tissue"'),
        ("stale == true", "did you mean 'True'"),
        ("rate is None", "character 9: 'None' follows 'is', which is not part of a filter; write == or !="),
        ("rate in 3", "character 9: '3' stands after 'in'; expected a list, e.g. rate in"),
        ("3 in (1, 2)", "'3' stands before 'in'; expected a name"),
        ("seed in (1, None)", "'None' may not stand in a list; write == None"),
        ("seed in ((1, 2), 3)", "'(1, 2)' is not part of a filter"),
        ("seed == 1j", "'1j' is not part of a filter"),
        ("seed == b'x'", "is not part of a filter"),
        ("dataset == f'{seed}'", "is not part of a filter"),
        ("seed == 1 + 1", "'1 + 1' is not part of a filter"),
        ("seed == -'x'", "follows a sign and is no number"),
        ("__import__('os')", "is no condition"),
        ("dataset.__class__.__name__ == 'x'", "'dataset.__class__.__name__' is no option"),
        ("seed.real == 1", "'seed.real' is no option; write one of dataset, noise, method, protocol"),
        ("selected/len('x') > 1", "is no metric; write names with / between them"),
        ("'a'/selected > 1", "is no metric"),
        ("(lambda: 1)() == seed", "is not part of a filter"),
        ("seed == (x := 1)", "is not part of a filter"),
        ("[seed for seed in (1, 2)]", "is no condition"),
        ("seed == 1\0", "the filter cannot be read"),
        ("dataset == '\ud800'", "the filter cannot be read"),
        ("seed == 0 and " * 200, f"the filter has {14 * 200} characters; the most is {LONGEST}"),
        ("not " * (DEEPEST + 2) + "stale", f"is nested more than {DEEPEST} deep"),
        ("(" * 900 + "stale" + ")" * 900, "the filter cannot be read"),
        ("seed == " + "-" * 1900 + "1", "the filter"),
        ("not " * 480 + "stale", "the filter"),
        ("dataset" + ".a" * 900, "is no option"),
    ],
)
def test_what_is_refused_in_one_line(text, problem) -> None:
    with pytest.raises(BenchmarkError) as error:
        parse_filter(text)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_numbers_of_any_size_are_compared(row) -> None:
    assert parse_filter("seed < " + "9" * 1900).matches(row)
    assert parse_filter("seed > -1e999").matches(row)


def test_a_long_metric_is_just_an_unknown_one(row) -> None:
    with pytest.raises(BenchmarkError, match="unknown metric in the filter 'a/a/a"):
        parse_filter("a" + "/a" * 900 + " > 1").keep([row])


def test_metrics_and_options_that_no_row_has_are_unknown(row) -> None:
    with pytest.raises(BenchmarkError, match="unknown metric in the filter 'selected/acuracy'; did you mean 'selected/accuracy'"):
        parse_filter("selected/acuracy > 0.5").keep([row])
    with pytest.raises(BenchmarkError, match="unknown option of dataset in the filter 'imagesize'; did you mean 'image_size'"):
        parse_filter("dataset.imagesize == 16").keep([row])


def test_order_of_a_parameter_that_is_text_here_says_what_it_holds(row) -> None:
    with pytest.raises(BenchmarkError, match=r"method.noise_rate < … needs numbers, but of hsa:confidence on tissue it holds 'auto'"):
        parse_filter("method.noise_rate < 0.3").matches(row)
    assert not parse_filter('method.noise_rate != "auto" and method.noise_rate < 0.3').matches(row)


NAMES = ["dataset", "rate", "seed", "method", "oracle", "selected/accuracy", "method.rounds", "solvable", "tissue", "True", "None"]
WORDS = [
    *NAMES,
    "and",
    "or",
    "not",
    "in",
    "is",
    "==",
    "!=",
    "<",
    "<=",
    "(",
    ")",
    "[",
    ",",
    "]",
    "/",
    ".",
    "-",
    "0.4",
    "'a'",
    '"',
    "#",
    "\\",
]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_no_text_does_anything_but_match_or_be_refused(text) -> None:
    spec = {kind: {"name": kind, "params": {"rounds": 2}} for kind in ("dataset", "noise", "method")}
    row = {"spec": spec | {"protocol": {"name": "quick"}}, "dataset": "tissue", "method": "hsa", "noise": "none", "protocol": "quick"}
    row |= {"seed": 0, "status": "done", "task": "classification", "selected/accuracy": 0.5, "oracle": [], "stale": False, "tuned": ""}
    try:
        matched = parse_filter(text).keep([row])
    except BenchmarkError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert matched in ([], [row])
