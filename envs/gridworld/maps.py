"""Maps as text; `gridworld_model` says what the letters mean."""

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

#: The same cells; in wind that always blows, the hallway at the top is a one-way door to the left,
#: and who starts in the upper left room has to go round below.
FOUR_ROOMS_ONE_WAY = """\
#############
#.....#.....#
#.....#.....#
#.....<.....#
#.....#.....#
#.....#.....#
##.####.....#
#.....###G###
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#############"""

#: The cliff of Sutton and Barto (2018, example 6.6), with wind that blows away from it: the short
#: way along the edge is safe.
WINDY_CLIFF = """\
.^^^^^^^^^^.
.^^^^^^^^^^.
.^^^^^^^^^^.
.^^^^^^^^^^.
.^^^^^^^^^^.
SCCCCCCCCCCG"""

#: The same cells; the wind blows towards the cliff, and who goes along its edge falls.
WINDY_CLIFF_TOWARDS = WINDY_CLIFF.replace("^", "v")
