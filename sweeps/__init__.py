"""Hyperparameter searches: the same number of trials for every method, and what the best settings are worth on fresh seeds."""
