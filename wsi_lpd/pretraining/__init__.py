"""A start for the encoder from patches without labels: VICReg, and the weights it leaves for `train`."""
