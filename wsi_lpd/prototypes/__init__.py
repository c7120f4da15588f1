"""What the prototypes of a model have learnt, as numbers and pictures; nothing here trains."""
