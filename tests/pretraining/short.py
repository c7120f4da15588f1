"""Settings of a pretraining that takes seconds."""

SHORT = [
    "model.encoder=test_resnet",
    "model.scales=[2, 4]",
    "model.fusion_weights=[0.4, 0.6]",
    "loss.scale_weights=[0.5, 1]",
    "pretrain.batch_size=8",
    "pretrain.epochs=3",
    "pretrain.projector_dim=48",
    "pretrain.views.px=32",
    "train.workers=0",
    "train.log_every=1",
    "train.checkpoint_every=2",
]
"""Three steps an epoch of 26 patches, nine in all."""
