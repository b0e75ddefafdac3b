"""Loading of model files of any origin: limits, a check in a process of its own, and its remembered result."""
