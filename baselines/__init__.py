"""The algorithms: objectives, learners and solvers, and what binds them."""
