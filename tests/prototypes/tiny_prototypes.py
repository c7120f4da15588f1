"""Classes and settings of a network that trains in seconds."""

CLASSES = ("Tumor", "glands & <ducts>", "LYM")
LABELS = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 0), (1, 0, ""), (0, 1, 1)]
"""Classes of the patches in turn; the last class occurs in one patch only."""

SETTINGS = [
    "model.scales=[1, 3]",
    "model.fusion_weights=[0.4, 0.6]",
    "loss.scale_weights=[0.5, 1]",
    "model.prototypes_per_class=3",
    "model.prototype_dim=32",
    # Weights here are random: without this hardly a pixel would be sure enough to belong to a class.
    "loss.pseudo_confidence=0.01",
    "loss.pseudo_margin=0",
    "train.batch_size=4",
    "train.epochs=1",
    "train.workers=0",
    # Half of these patches, so that two of the classes have hundreds of pixels among those held out.
    "train.val_fraction=0.5",
    "train.seed=3",
]
SIDE = 48
