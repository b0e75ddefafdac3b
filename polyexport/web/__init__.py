"""The rules that every HTTP server of this toolkit follows: names that it answers to, and file descriptors."""
