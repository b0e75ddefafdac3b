"""The command line: one file per command. A body parses, calls one function, renders, and sets the exit code."""
