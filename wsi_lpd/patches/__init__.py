"""From a slide to a patch store and a label table; nothing here imports torch."""
