"""What people and other programs read of an analysis."""
