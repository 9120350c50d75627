"""Which segments drove a decision, and how faithful that explanation is."""
