"""What the prototypes of a model have learnt, in numbers and pictures; nothing here trains."""
