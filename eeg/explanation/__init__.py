"""Which segments drove a decision, and whether that is true."""
