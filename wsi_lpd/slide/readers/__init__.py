"""How the bytes of a slide become pixels: one reader per kind of file, and the choice between them."""
