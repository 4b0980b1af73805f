"""The algorithms: each an objective bound to a learner."""
