"""What is printed of records from elsewhere does not steer the terminal."""

from __future__ import annotations

from irlbench.cli.output import complain, first_line, heading, table

NASTY = "a\x1b[2J\x1b]0;title\x07b\rc\x9bd\u202ee"
SHOWN = "a�[2J�]0;title�b�c�d�e"


def test_control_characters_are_shown_not_sent(capsys):
    table([[NASTY, "x"], ["two\nlines", "y"]], ["name", NASTY])
    heading(NASTY)
    complain(NASTY)
    told = capsys.readouterr()
    assert told.out.count(SHOWN) == 3 and told.err == f"irlbench: {SHOWN}\n"
    assert "two lines" in told.out
    assert not set("\x1b\x07\r\x9b\u202e") & set(told.out + told.err)
    assert first_line(f"  {NASTY}\nmore") == SHOWN
