"""Maps as text: `#` is a wall, `.` a free cell, `G` a free cell that is the goal."""

from __future__ import annotations

#: Four rooms joined by four hallways, 104 free cells (Sutton, Precup and Singh, 1999). The goal is
#: the hallway between the two rooms on the right: walls on both sides make it a cell one can stay
#: in.
FOUR_ROOMS = """\
#############
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#.....#.....#
##.####.....#
#.....###G###
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#############"""
