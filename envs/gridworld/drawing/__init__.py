"""Figures of gridworld tasks: what each algorithm found, beside the truth."""
