"""From a trained model and the labels of its training patches to pseudo masks; the second stage learns from them."""
