"""The saved detector: network, calibration, conformal sets, novelty gate, prototypes."""
