"""Adapters: other packages' algorithms as rows of the same leaderboard."""
