"""Text from records shows as it is and does nothing."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from irlbench.reporting.escape import clean, csv_text, markdown, natural, shorten
from irlbench.reporting.markup import Markup, element, join


def test_control_characters_become_visible():
    assert clean("a\x1b[31mred\x00\x9b") == "a�[31mred��"
    assert clean("one\ntwo\r\n\tthree") == "one two three"
    # right-to-left override and a lonely surrogate
    assert clean("\u202egpj\ud800") == "�gpj�"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a|b", r"a\|b"),
        ("a\nb", "a b"),
        ("<script>", "&lt;script&gt;"),
        ("[x](http://y)", r"[x\](http://y)"),
        ("![x][y]", r"![x\][y]"),
        ("[x]: y", r"[x\]: y"),
        ("*b* `c`", r"\*b\* \`c\`"),
        ("&lt;", "&amp;lt;"),
        ("_emphasis_", r"\_emphasis\_"),
        ("learning_rate=[64,64] & more", "learning_rate=[64,64] & more"),
    ],
)
def test_markdown(text, safe):
    assert markdown(text) == safe


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r@", " ="])
def test_csv_text_is_no_formula(start):
    assert csv_text(f"{start}cmd")[0] == "'"


def test_csv_text_is_left_alone_otherwise():
    assert csv_text("a=b, c") == "a=b, c"


def test_shorten():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


def test_natural_order():
    assert sorted(["v10", "v2", "a", "v"], key=natural) == ["a", "v", "v2", "v10"]
    # int() would refuse this many digits
    assert natural("9" * 10_000) > natural("8" * 10_000)


def test_elements_escape_text_and_attributes_and_keep_markup():
    inner = element("b", "<i>&\"'")
    outer = element("a", inner, " x", None, href='"><script>', aria_label="l", hidden=True, id=None)
    assert inner == "<b>&lt;i&gt;&amp;&quot;&#x27;</b>"
    assert outer == (
        '<a href="&quot;&gt;&lt;script&gt;" aria-label="l" hidden>'
        "<b>&lt;i&gt;&amp;&quot;&#x27;</b> x</a>"
    )
    assert join("<", Markup("<br>")) == "&lt;<br>"


def test_elements_are_well_formed_whatever_they_hold():
    everything = "".join(map(chr, range(0x3000))) + "\ud800\uffff"
    tree = ElementTree.fromstring(element("a", everything, title=everything))
    assert "<" in tree.attrib["title"] and tree.text is not None and "&" in tree.text
