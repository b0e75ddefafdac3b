"""Sources of networks, one file for each kind: a checkpoint, a module with weights, a TOML file."""
