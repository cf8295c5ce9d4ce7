"""Finding the linear and affine generators of a loss, and proving that there are no others."""
