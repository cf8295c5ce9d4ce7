"""Counting the conservation laws of gradient flow, with a bound from either side."""
