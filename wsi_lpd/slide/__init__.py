"""Opening slides and reading pixels; nothing here knows of networks."""
