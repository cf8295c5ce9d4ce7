"""Reflections and permutations of the parameters, and where a loss has them."""
