"""symtheory."""
