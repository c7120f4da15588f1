"""Grad-CAM: what a layer's activations contribute to the logit of a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from wsi_lpd.models.network import LpdNetwork, NetworkOutput


def grad_cams(network: LpdNetwork, images: Tensor, *, n_stages: int) -> tuple[NetworkOutput, list[Tensor]]:
    """Grad-CAM of every class at the last stages of the encoder.

    `sum_k w_k A_k` with `w_k` the sum over positions of `d y_c / d A_k` (Selvaraju et al. 2017 take the mean: the same
    up to the number of positions) and without its final ReLU. With the sum, the map of a layer that a linear classifier
    without bias stands on is that classifier's own map.

    Args:
        network: In eval mode, or its layers see this batch alone.
        images: RGB in [0, 1], (B, 3, H, W).
        n_stages: How many stages, up to the deepest that the network uses.

    Returns:
        The network's output and one (B, C, h, w) in float32 per stage, the deepest last. Only the output has a graph.
    """
    encoder = network.encoder
    names = [encoder.body.feature_info[i]["module"] for i in range(max(encoder.scales) + 1)][-n_stages:]
    widths = [int(encoder.body.feature_info[i]["num_chs"]) for i in range(max(encoder.scales) + 1)][-n_stages:]
    # Gradients are wanted whatever the caller has switched off.
    with torch.inference_mode(False), torch.enable_grad():
        modules = [encoder.body.get_submodule(name) for name in names]
        normalised = (images.clone() - network.mean) / network.std
        with _recorded(modules) as activations:
            seen = encoder(normalised)  # not `network.maps`, which cuts the graph of a frozen encoder
        output = network(images, maps=seen)
        n_classes = output.fused_logits.shape[1]
        gradients = [
            torch.autograd.grad(output.fused_logits[:, c].sum(), activations, retain_graph=c + 1 < n_classes)
            for c in range(n_classes)
        ]
    cams, size = [], (seen[-1].shape[-2], seen[-1].shape[-1])
    for stage, (activation, width) in enumerate(zip(activations, widths, strict=True)):
        maps = _as_maps(activation.detach(), width, size).float()
        weights = [_as_maps(of_class[stage], width, size).float().sum(dim=(2, 3)) for of_class in gradients]
        cams.append(torch.einsum("bcd,bdhw->bchw", torch.stack(weights, dim=1), maps))
    return output, cams


@contextmanager
def _recorded(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What the modules give, in their order. The graph begins at the first, whatever the weights want."""
    activations: list[Tensor] = []

    def record(module: nn.Module, inputs: object, result: Tensor) -> Tensor:
        kept = result if activations else result.detach().requires_grad_()
        activations.append(kept)
        return kept

    handles = [module.register_forward_hook(record) for module in modules]
    try:
        yield activations
    finally:
        for handle in handles:
            handle.remove()


def _as_maps(values: Tensor, width: int, size: tuple[int, int]) -> Tensor:
    """(B, D, h, w), from that, from (B, h, w, D) as Swin has it, or from a plain transformer's tokens (B, N, D)."""
    if values.ndim == 3:  # tokens without a place come first
        return values[:, -size[0] * size[1] :].transpose(1, 2).reshape(len(values), width, *size)
    return values if values.shape[1] == width else values.permute(0, 3, 1, 2)
