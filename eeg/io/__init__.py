"""Files: formats, names of electrodes, gaps, headers."""
