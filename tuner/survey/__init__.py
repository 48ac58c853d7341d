"""A look at somebody's data before a launch: what is there, and the space that would suit it."""
