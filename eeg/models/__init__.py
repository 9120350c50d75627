"""Networks and feature models."""
