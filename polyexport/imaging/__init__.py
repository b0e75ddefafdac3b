"""Colors, pixels and image formats: untrusted bytes of image files -> validated uint8 arrays, and back."""
