"""Settings of a run that takes seconds."""

SMALL = [
    "model.scales=[1, 3]",
    "model.fusion_weights=[0.4, 0.6]",
    "loss.scale_weights=[0.5, 1]",
    "model.prototypes_per_class=3",
    "model.prototype_dim=32",
    "train.learning_rate=1e-3",
    "train.prototype_learning_rate=5e-3",
    "train.batch_size=4",
    "train.epochs=2",
    "train.workers=0",
    "train.log_every=1",
    "train.checkpoint_every=2",
    "train.ema_decay=0.5",
    "loss.start=0.2",
]
