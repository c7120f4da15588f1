"""Batches of patches, augmentation, the validation split, cached feature maps."""
