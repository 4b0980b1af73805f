from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from irlbench.envs.text import corpus
from irlbench.envs.text.arithmetic import (
    SPLITS,
    Sum,
    demonstrate,
    draw_longer,
    draw_sums,
    final_answer,
    parse_prompt,
    split_of,
    verify,
)
from irlbench.envs.text.tokenizer import BOS, EOS, ByteTokenizer


def test_the_demonstrator_by_hand():
    assert demonstrate("348+67=") == "\n8+7=15\n4+6+1=11\n3+0+1=4\n#### 415"
    assert demonstrate("95+5=") == "\n5+5=10\n9+0+1=10\n#### 100"
    assert demonstrate("9999+9999=").count("\n") == 5


def test_the_demonstrator_is_always_right_and_fits_the_horizon():
    from irlbench.envs.text.environments import ARITHMETIC_HORIZON

    for task in [*draw_sums("train", 200, 3), *draw_longer(200, 3), Sum(9999, 9999)]:
        assert verify(task.prompt, task.solution)
        assert len(task.solution) + 1 <= ARITHMETIC_HORIZON


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("\n8+7=15\n#### 415", 415),
        ("#### 415", 415),
        ("\n#### 0", 0),
        ("\n#### 0415", None),
        ("\n####415", None),
        ("\n#### 415\n", None),
        ("\n#### 415 ", None),
        ("\n#### +415", None),
        ("\n#### ٤١٥", None),
        ("\n#### 4<|pad|>15", None),
        ("\n#### ", None),
        ("415", None),
        ("", None),
        ("8+7=15 #### 415", None),
        ("\n#### 1\n#### 415", None),
        ("\n#### " + "9" * 5000, None),
    ],
)
def test_what_counts_as_an_answer(completion, answer):
    assert final_answer(completion) == answer
    assert verify("348+67=", completion) == (answer == 415)


@pytest.mark.parametrize("prompt", ["348+67", "0+5=", "07+5=", "3+-4=", "a+b=", "1+2=\n", ""])
def test_what_is_no_prompt(prompt):
    with pytest.raises(ValueError, match="no sum"):
        parse_prompt(prompt)


def test_splits_are_disjoint_whatever_the_order_of_operands():
    drawn = {s: {tuple(sorted(t)) for t in draw_sums(s, 1500, 0)} for s in SPLITS}
    assert all(len(found) == 1500 for found in drawn.values())
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["validation"] & drawn["test"]
    for task in draw_sums("test", 50, 1):
        assert split_of(Sum(task.right, task.left)) == "test"


def test_splits_have_their_shares():
    generator = np.random.default_rng(0)
    found = [split_of(Sum(*map(int, pair))) for pair in generator.integers(10, 1000, (4000, 2))]
    assert abs(found.count("train") / 4000 - 0.8) < 0.03
    assert abs(found.count("test") / 4000 - 0.1) < 0.02


def test_drawing_is_seeded_and_prefixes_hold():
    assert draw_sums("train", 30, 5) == draw_sums("train", 60, 5)[:30]
    assert draw_sums("train", 30, 5) != draw_sums("train", 30, 6)
    with pytest.raises(ValueError, match="unknown split"):
        draw_sums("tset", 1, 0)


def test_longer_sums_have_four_digits():
    assert all(1000 <= n < 10000 for task in draw_longer(100, 0) for n in task)


def test_the_corpus_holds_no_test_sum():
    tokenizer, sums = ByteTokenizer(), 0
    for document in islice(corpus.documents(3), 3000):
        assert document[0] == BOS and document[-1] == EOS
        prompt = tokenizer.decode(document[1:-1]).partition("=")[0] + "="
        try:
            task = parse_prompt(prompt)
        except ValueError:
            continue
        sums += 1
        assert split_of(task) == "train"
    assert sums > 2500


def test_authors_differ_in_care():
    generator = np.random.default_rng(0)
    tasks = draw_sums("train", 400, 9)
    right = {
        author.__name__: np.mean([verify(t.prompt, author(t, generator)) for t in tasks])
        for author in corpus.AUTHORS
    }
    assert right["careful"] == 1
    assert 0.3 < right["hasty"] < 0.7
    assert 0.2 < right["direct"] < 0.6
    assert right["vague"] == 0


def test_packed_rows_are_the_documents_in_a_row():
    rows = np.concatenate([b.ravel() for b in islice(corpus.packed_rows(1, 3, 40), 5)])
    documents = np.concatenate(list(islice(corpus.documents(1), 100)))
    assert (rows == documents[: len(rows)]).all()
