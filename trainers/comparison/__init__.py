"""Comparison of rules and controls on the same model, data and seeds."""
