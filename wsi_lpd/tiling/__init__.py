"""From a slide to patches: which are kept, how they are read, and the `tile` job."""
