"""Trained models on disk: card, weights, run folders."""
