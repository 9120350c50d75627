"""Analyses as reports, TensorBoard runs, model cards and files for other programs."""
