"""What is read from a slide and drawn on it: reduced JPEG sizes, window seams, overlays."""

__all__: list[str] = []
