"""Files, folders, typed JSON and object stores, written whole or not at all. Knows nothing of images or models."""
