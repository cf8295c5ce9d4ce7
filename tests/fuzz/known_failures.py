"""Seeds that fail today, each with its reason; one that passes again has to be removed."""

LIGHT: dict[int, str] = {}
"""Among those of the fast test."""

FULL: dict[int, str] = {}
"""Among those of the slow test."""
