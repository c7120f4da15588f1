"""From a trained model and the labels of its training patches to pseudo masks, which a second stage is trained on."""
