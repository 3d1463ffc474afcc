"""From an architecture to a network: `build_network`, with the weights drawn as EfficientNetV2 draws them.

Stem, stages, head, pooling, dropout, classifier, as google/automl `efficientnetv2/effnetv2_model.py`
(arXiv 2104.00298, Table 4). Its params, macs and activations are those of `search_spaces.cost`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.published import ACTIVATIONS
from trainers.blocks import BLOCKS, ConvUnit, NetworkSettings, Window


class Network(nn.Module):
    """A picture classifier: `stem`, `stages` (of blocks), `head`, mean over the map, `dropout`, `classifier`.

    Args:
        architecture: its stages and widths.
        num_classes: width of the classifier.
        in_channels: channels of a picture.
        settings: its activation, padding, batch norm and regularisation. Dropout may also be changed
            while training, by setting `network.dropout.p`.

    Raises:
        ValueError: num_classes or in_channels is not a positive integer.
    """

    def __init__(
        self, architecture: Architecture, num_classes: int, in_channels: int, *, settings: NetworkSettings
    ) -> None:
        super().__init__()
        for name, value in (("num_classes", num_classes), ("in_channels", in_channels)):
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
        self.architecture = architecture
        self.settings = settings
        self.stem = ConvUnit(in_channels, architecture.stem_channels, window=Window(3, stride=2), settings=settings)
        self.stages = _stages(architecture, settings)
        width, head = architecture.stages[-1].channels, architecture.head_channels
        self.head = ConvUnit(width, head, settings=settings) if head else nn.Identity()
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(head or width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of pictures.

        Args:
            images: (batch, in_channels, height, width), floats. Any height and width of at least 1; in
                training, batch norm needs more than one value a channel, so the batch must be at least 2
                where the maps shrink to 1x1.

        Returns:
            Logits, (batch, num_classes).
        """
        features: Tensor = self.head(self.stages(self.stem(images)))
        logits: Tensor = self.classifier(self.dropout(features.mean((2, 3))))
        return logits

    def adopt(self, *, padding: str, bn_eps: float) -> None:
        """Compute as weights expect that were trained with this padding and this epsilon of batch norm.

        Raises:
            ValueError: as `NetworkSettings`.
        """
        self.settings = replace(self.settings, padding=padding, bn_eps=bn_eps)
        for module in self.modules():
            if isinstance(module, ConvUnit):
                module.set_padding(padding)
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = bn_eps


def build_network(
    architecture: Architecture,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    settings: NetworkSettings = NetworkSettings(),
    generator: torch.Generator | None = None,
) -> Network:
    """The network of an architecture with fresh weights, on torch's default device and in its default dtype.

    On the meta device (`with torch.device("meta"):`) nothing is allocated or drawn.

    Args:
        architecture: what to build.
        num_classes: width of the classifier.
        in_channels: channels of a picture.
        settings: its activation, padding, batch norm and regularisation.
        generator: of the weights, on the same device; torch's own if None. Stochastic depth and dropout
            draw from torch's own in every forward pass, as modules of torch do.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: num_classes or in_channels is not a positive integer.
    """
    device = torch.get_default_device()
    with torch.device("meta"):  # torch's own initialisation would cost time and draw numbers, for nothing
        network = Network(architecture, num_classes, in_channels, settings=settings)
    network.to_empty(device=device)
    _initialise(network, generator)
    return network


def published_settings(name: str) -> NetworkSettings:
    """The activation and batch norm that a published network was published with.

    V2: google/automl's (decay 0.9); V1 and MnasNet: tensorflow/tpu's (decay 0.99); RegNets: pycls' (torch's own).

    Raises:
        ValueError: no published network has that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"the network must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    bn_momentum = 0.01 if name.startswith(("efficientnet-", "mnasnet")) else 0.1
    bn_eps = 1e-5 if name.startswith("regnet") else 1e-3
    return NetworkSettings(activation=ACTIVATIONS[name], bn_momentum=bn_momentum, bn_eps=bn_eps)


def _stages(architecture: Architecture, settings: NetworkSettings) -> nn.Sequential:
    blocks_in_all = sum(stage.layers for stage in architecture.stages)
    number, width = 0, architecture.stem_channels
    stages = nn.Sequential()
    for stage in architecture.stages:
        blocks = nn.Sequential()
        for layer in range(stage.layers):
            # All blocks count, those without a residual branch too; the first is never dropped.
            survival = 1.0 - (1.0 - settings.survival) * number / blocks_in_all
            stride = stage.stride if layer == 0 else 1
            blocks.append(BLOCKS[stage.op](width, stage, stride=stride, survival=survival, settings=settings))
            number, width = number + 1, stage.channels
        stages.append(blocks)
    return stages


def _initialise(network: nn.Module, generator: torch.Generator | None) -> None:
    """Convolutions from Normal(0, sqrt(2 / fan_out)), classifier from Uniform(±1 / sqrt(outputs)), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # A TensorFlow depthwise kernel is (height, width, in, 1), so its fan_out has no channels in it;
            # torch's kaiming fan_out leaves the groups out and would draw far too small weights.
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)  # outputs, unlike torch's own, which takes the inputs
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
