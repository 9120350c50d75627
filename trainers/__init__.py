"""One loop for every learning rule."""
