"""Generator of sketches: drawings as people make them, on paper as it is, each with its exact answer."""
