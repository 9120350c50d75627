"""Evaluation of detectors: metrics, significance, confounds and localization."""
