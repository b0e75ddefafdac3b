"""Colors, pixels and image files: untrusted bytes to validated uint8 arrays, and back."""
