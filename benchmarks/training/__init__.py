"""What training costs: steps, losses and epochs."""

__all__: list[str] = []
