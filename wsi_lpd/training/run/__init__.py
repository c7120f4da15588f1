"""A training run on disk: its folder, identity, metrics, state and report."""
