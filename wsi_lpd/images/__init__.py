"""Picture files and arrays of pixels; nothing here knows of slides."""
