"""The three worlds."""
