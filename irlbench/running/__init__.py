"""Plans trials, runs them in processes of their own, and keeps their records."""
