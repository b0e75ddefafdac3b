"""A model file -> a folder that works alone: for people and servers that do not have polyexport."""
