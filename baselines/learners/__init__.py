"""What turns an objective into updates: one learner per kind of policy.

An algorithm asks `learner_for` for the learner of its problem and never looks at the world again.
"""
