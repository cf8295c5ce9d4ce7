"""Settings shared by all tests: double precision, and shapes checked by hand where it matters."""

import jax

jax.config.update("jax_enable_x64", True)
