"""What turns features into class maps: prototypes, linear classifiers, decoders, adapters."""
