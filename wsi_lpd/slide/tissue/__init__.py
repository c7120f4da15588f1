"""Where a slide holds tissue: detected on its thumbnail, or given by a person."""
