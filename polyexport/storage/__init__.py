"""Atomic files, published folders, typed JSON, object stores and standard streams; independent of images and models."""
