"""Checks that algorithms and tasks keep the contract, with an audit of the hidden reward."""
