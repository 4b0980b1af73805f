"""The small languages of the command line."""

from __future__ import annotations

import pytest

from irlbench.cli import values
from irlbench.errors import UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (None, None),
        ("3", 3),
        (" 10 ", 10),
        ("0..4", [0, 1, 2, 3, 4]),
        ("7..7", [7]),
        ("1,5,7", [1, 5, 7]),
        ("0..2, 10", [0, 1, 2, 10]),
        ("5..6,0", [5, 6, 0]),
    ],
)
def test_seeds(text, meant):
    assert values.seeds(text) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x", "'x'"),
        ("", "''"),
        ("0", "got 0"),
        ("-3", "got -3"),
        ("1.5", "'1.5'"),
        ("4..1", "the first seed is the larger one"),
        ("-1..2", "must lie in"),
        ("1,,2", "''"),
        ("1,2,1", "1 twice"),
        ("0..5,3", "3 twice"),
        ("0..9999999", "at most"),
        ("9999999", "9999999"),
        ("3000000000..3000000001", "must lie in"),
        ("..", "''"),
    ],
)
def test_seeds_that_make_no_sense(text, told):
    with pytest.raises(UsageError, match="--seeds") as caught:
        values.seeds(text)
    assert told in str(caught.value)


def test_names():
    assert values.names(None, "--algorithms") is None
    assert values.names("bc, imitation/bc", "--algorithms") == ["bc", "imitation/bc"]
    for text in ("", "bc,", "bc,,random"):
        with pytest.raises(UsageError, match="separated by commas"):
            values.names(text, "--algorithms")
    with pytest.raises(UsageError, match="'bc' twice"):
        values.names("bc,random,bc", "--algorithms")


def test_counts():
    assert values.counts(None, "--demonstrations") is None
    assert values.counts("1,3,10", "--demonstrations") == [1, 3, 10]
    for text, told in (
        ("0", "at least 1, got 0"),
        ("x", "'x'"),
        ("1,1", "1 twice"),
        ("2.0", "2.0"),
    ):
        with pytest.raises(UsageError, match="--demonstrations") as caught:
            values.counts(text, "--demonstrations")
        assert told in str(caught.value)


def test_budget():
    assert values.budget([]) == {}
    found = values.budget(["steps=1e5,gradient_steps=200", "seconds=0.5"])
    assert found == {"steps": 100_000, "gradient_steps": 200, "seconds": 0.5}
    assert isinstance(found["steps"], int)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("steps", "name=number"),
        ("steps=", "a number, got ''"),
        ("steps=many", "'many'"),
        ("steps=0", "positive"),
        ("steps=-5", "positive"),
        ("steps=nan", "positive"),
        ("seconds=inf", "finite"),
        ("gradient_steps=1.5", "whole number"),
        ("steps=5,steps=6", "twice"),
    ],
)
def test_budgets_that_make_no_sense(item, told):
    with pytest.raises(UsageError, match=told):
        values.budget([item])


def test_an_unknown_budget_gets_a_did_you_mean():
    with pytest.raises(UnknownNameError, match="'step'; did you mean 'steps'"):
        values.budget(["step=5"])


def test_settings():
    assert values.settings([]) == {}
    items = ["bc.learning_rate=1e-3", "imitation/bc.name=a=b", "bc.hidden=(64, 64)"]
    assert values.settings(items) == {
        "bc.learning_rate": "1e-3",
        "imitation/bc.name": "a=b",
        "bc.hidden": "(64, 64)",
    }
    for item in ("bc.learning_rate", "learning_rate=1", ".x=1", "bc.=1", "=1"):
        with pytest.raises(UsageError, match=r"algorithm\.field=value"):
            values.settings([item])
    with pytest.raises(UsageError, match=r"sets bc\.x twice"):
        values.settings(["bc.x=1", "bc.x=2"])


def test_single_numbers():
    assert values.whole(None, "--jobs") is None
    assert values.whole("4", "--jobs") == 4
    assert values.whole("0", "--seed", least=0) == 0
    assert values.seconds("1.5", "--timeout") == 1.5
    for text in ("x", "1.5", ""):
        with pytest.raises(UsageError, match="--jobs takes a whole number"):
            values.whole(text, "--jobs")
    with pytest.raises(UsageError, match="at least 1, got 0"):
        values.whole("0", "--jobs")
    for text in ("x", "0", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="--timeout takes a positive number of seconds"):
            values.seconds(text, "--timeout")
    assert values.device("cuda") == "cuda"
    with pytest.raises(UnknownNameError, match="did you mean 'cpu'"):
        values.device("gpu")


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("8GB", 8 * 10**9),
        ("500MiB", 500 * 2**20),
        ("1.5 gib", 3 * 2**29),
        ("2k", 2000),
        ("4096", 4096),
        ("1TB", 10**12),
        (None, None),
    ],
)
def test_sizes(text, bytes_):
    assert values.size(text, "--memory") == bytes_


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "8 GBs", "1e9", "0", "nan", "8GB4"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="takes a size such as 8GB or 500MiB"):
        values.size(text, "--memory")


@pytest.mark.parametrize("text", ["0", "-1", "x", "inf", "nan"])
def test_what_is_no_positive_number_is_refused(text):
    with pytest.raises(UsageError, match="takes a positive number, got"):
        values.number(text, "--gpus-per-trial")


@pytest.mark.parametrize(
    "read",
    [
        lambda: values.whole("9" * 4000, "--jobs"),
        lambda: values.whole(str(2**31), "--threads"),
        lambda: values.counts("9" * 4000, "--demonstrations"),
        lambda: values.size("9" * 400 + "GB", "--memory"),
        lambda: values.budget_value("steps", 10**400, "--budget"),
        lambda: values.budget_value("seconds", "9" * 4000, "--budget"),
    ],
    ids=range(6),
)
def test_numbers_beyond_all_bounds_are_refused_in_few_words(read):
    with pytest.raises(UsageError) as caught:
        read()
    assert len(str(caught.value)) < 300


def test_a_long_list_of_counts_is_read_at_once():
    many = list(range(1, 50_000))
    assert values.counts(",".join(map(str, many)), "--demonstrations") == many
