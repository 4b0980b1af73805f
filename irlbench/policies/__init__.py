"""The closed set of policy kinds.

Tables and networks act in NumPy, so that no evaluator of a gridworld or a robot needs torch.
"""
