"""Solvers: a reward function in, a policy out."""
