"""How fast a model runs on this machine, and whether that meets a target."""
