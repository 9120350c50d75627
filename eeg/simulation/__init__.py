"""A simulated cohort with known discharges."""
