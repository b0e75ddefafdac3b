"""A folder in, a folder out: plan everything that can be refused, then run it."""
