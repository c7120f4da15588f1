"""Encoders, prototypes, the network and its checkpoint; nothing here opens a slide."""
