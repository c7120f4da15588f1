"""Pure tensor functions, one loss each."""
