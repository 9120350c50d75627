"""Plan, fit and cross-validate."""
