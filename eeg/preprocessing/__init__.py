"""From volts to windows."""
