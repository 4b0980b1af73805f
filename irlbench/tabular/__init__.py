"""Exact mathematics of finite problems: planning, occupancy measures, evaluation."""
