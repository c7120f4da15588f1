"""Readers that decode slide files, one per kind of file, and the choice among them."""
