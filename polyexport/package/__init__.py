"""Packages: folders that run a model where polyexport is not installed, with a model card and a Triton repository."""
