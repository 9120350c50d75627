"""How good a detector is, and what else could explain its figures."""
