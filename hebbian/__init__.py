"""Local learning rules for any PyTorch model."""
