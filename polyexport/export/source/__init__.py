"""Where a network comes from: one file for each kind of source."""
