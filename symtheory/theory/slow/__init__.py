"""The slow flow: what SGD noise does along a family of symmetries, rotations included."""
