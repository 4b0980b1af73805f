"""The algorithms of the package `imitation` (Gleave et al., 2022), as they are in its release.

What they are given is what ours are: environments whose reward reads 0.0, and the demonstrations
drawn for the seed. Their policies and rewards are handed back in the closed kinds.
"""
