"""The closed set of reward forms."""
