"""What algorithms learn from: demonstrations and preferences, and where they are kept."""
