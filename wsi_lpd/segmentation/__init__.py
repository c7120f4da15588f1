"""From a slide and a model to a label map, without any label."""
