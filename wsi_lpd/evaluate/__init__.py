"""Scoring a prediction against the truth, with the protocol named."""
