"""Finding the images of a run: folders, patterns, lists, manifests and object stores."""
