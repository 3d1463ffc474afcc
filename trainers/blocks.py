"""The blocks of a network: MBConv, Fused-MBConv, squeeze-excite, stochastic depth.

EfficientNetV2 (arXiv 2104.00298, Figure 2), as google/automl `efficientnetv2/effnetv2_model.py` builds it.
MBConv is MobileNetV2's (arXiv 1801.04381), squeeze-excite arXiv 1709.01507, stochastic depth 1603.09382.
Maps are (batch, channels, height, width) tensors of floats, in either memory format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.architecture import Stage
from search_spaces.complexity import inner_width, squeeze_width
from trainers.convolution import Conv2d

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU}
"""The activations by name: EfficientNet's and MnasNet's."""

PADDINGS = ("symmetric", "same")
"""Where a strided convolution pads: equally on all sides (PyTorch's networks), or TensorFlow's "SAME"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What a network is besides its architecture; the defaults are EfficientNetV2's without regularisation.

    Args:
        dropout: share of the pooled features dropped before the classifier in training.
        survival: probability of keeping a residual branch in training, at the network's end: block i of n,
            counted from 0, has 1 - (1 - survival) * i / n. 1 is no stochastic depth.
        padding: `"symmetric"` or `"same"`. Either gives maps of ceil(side / stride), but for even sides
            the windows lie elsewhere, so trained weights do not carry over from one to the other.
        activation: `"silu"` or `"relu"`.
        bn_momentum: weight of a new batch in the running statistics (1 minus TensorFlow's decay).
        bn_eps: added to the variance.

    Raises:
        ValueError: a value is out of its range, or a name unknown.
    """

    dropout: float = 0.0
    survival: float = 1.0
    padding: str = "symmetric"
    activation: str = "silu"
    bn_momentum: float = 0.1
    bn_eps: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1; got {self.dropout!r}")
        _check_survival(self.survival)
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {self.padding!r}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}")
        if not 0 < self.bn_momentum <= 1:
            raise ValueError(f"bn_momentum must be above 0 and at most 1; got {self.bn_momentum!r}")
        if not self.bn_eps > 0:
            raise ValueError(f"bn_eps must be above 0; got {self.bn_eps!r}")


class Window(NamedTuple):
    """How a convolution looks at a map: its side (odd) and stride in pixels, and its channel groups."""

    kernel: int = 1
    stride: int = 1
    groups: int = 1


POINTWISE = Window()
"""The 1x1 convolution."""


class SamePadding(nn.Module):
    """Zeros around a map as TensorFlow's "SAME" puts them: what is needed, the odd one below and right.

    Args:
        window: of the convolution that follows.
    """

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """The padded map; it depends on the map's sides, so networks take pictures of any size."""
        above, below = self._split(x.shape[2])
        left, right = self._split(x.shape[3])
        return F.pad(x, (left, right, above, below))

    def _split(self, side: int) -> tuple[int, int]:
        kernel, stride, _ = self.window
        last_start = (-(-side // stride) - 1) * stride
        total = max(last_start + kernel - side, 0)
        return total // 2, total - total // 2


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, activation; a side of n pixels becomes ceil(n / stride).

    Args:
        in_channels: width of the input.
        channels: width of the output.
        window: kernel, stride and groups.
        settings: padding, activation and batch norm.
        linear: leave the activation out.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        settings: NetworkSettings,
        window: Window = POINTWISE,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.window = window
        kernel, stride, groups = window
        self.padding: nn.Module = nn.Identity()
        self.conv = Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=settings.bn_eps, momentum=settings.bn_momentum)
        self.activation = nn.Identity() if linear else ACTIVATIONS[settings.activation]()
        self.set_padding(settings.padding)

    def set_padding(self, padding: str) -> None:
        """Pad as weights expect that were trained so; a name in `PADDINGS`."""
        kernel, stride, _ = self.window
        # At stride 1 the two paddings are one, and the convolution pads for itself without a copy.
        same = padding == "same" and stride > 1 and kernel > 1
        self.padding = SamePadding(self.window) if same else nn.Identity()
        self.conv.padding = (0, 0) if same else (kernel // 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, channels, ceil(height / s), ceil(width / s))."""
        y: Tensor = self.activation(self.norm(self.conv(self.padding(x))))
        return y


class SqueezeExcite(nn.Module):
    """A gate in (0, 1) on every channel, from the means of all channels; its two convolutions have biases.

    Args:
        channels: width of the map.
        squeeze_channels: width between the two convolutions.
        activation: between them, a name in `ACTIVATIONS`.
    """

    def __init__(self, channels: int, squeeze_channels: int, *, activation: str = "silu") -> None:
        super().__init__()
        self.reduce = Conv2d(channels, squeeze_channels, 1)
        self.activation = ACTIVATIONS[activation]()
        self.restore = Conv2d(squeeze_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The map, every channel scaled by its gate."""
        gate: Tensor = self.restore(self.activation(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


class StochasticDepth(nn.Module):
    """Drops a residual branch for some samples in training and scales it for the others; identity in eval.

    Args:
        survival: probability that a sample keeps its branch, above 0. May be set on the built module.

    Raises:
        ValueError: survival is out of its range.
    """

    def __init__(self, survival: float) -> None:
        super().__init__()
        _check_survival(survival)
        self.survival = survival

    def forward(self, x: Tensor) -> Tensor:
        """The branch, zero or times 1 / survival sample by sample, so that its expectation is unchanged."""
        if not self.training or self.survival == 1.0:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(self.survival)
        return x * kept.div_(self.survival)

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return f"survival={self.survival:.4g}"


class MBConv(nn.Module):
    """1x1 expansion, depthwise convolution with the stride, squeeze-excite, linear 1x1 projection.

    The expansion is left out at expand_ratio 1; the input is added if shape and width are kept. With groups
    wider than one channel, and an inner width taken from the output, it is the block of RegNetZ, whose
    expansion is always there.

    Args:
        in_channels: width of the input.
        stage: the stage it is a layer of; its stride is not looked at.
        stride: of this layer.
        survival: probability of keeping the residual branch in training.
        settings: of the network.
    """

    def __init__(
        self, in_channels: int, stage: Stage, *, stride: int, survival: float, settings: NetworkSettings
    ) -> None:
        super().__init__()
        inner, channels = inner_width(stage, in_channels), stage.channels
        window = Window(stage.kernel, stride, groups=inner // stage.group_width)
        expanded = stage.op == "regnet_z" or stage.expand_ratio != 1
        self.expand = ConvUnit(in_channels, inner, settings=settings) if expanded else nn.Identity()
        self.depthwise = ConvUnit(inner, inner, window=window, settings=settings)
        self.squeeze_excite = _squeeze_excite(in_channels, stage, settings)
        self.project = ConvUnit(inner, channels, settings=settings, linear=True)
        self.stochastic_depth = StochasticDepth(survival)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, channels, ceil(height / s), ceil(width / s))."""
        y: Tensor = self.project(self.squeeze_excite(self.depthwise(self.expand(x))))
        return x + self.stochastic_depth(y) if self.residual else y


class FusedMBConv(nn.Module):
    """Full convolution to the expanded width with the stride, squeeze-excite, linear 1x1 projection.

    At expand_ratio 1 it is squeeze-excite and then a single convolution, with the stride *and* an
    activation (not a convolution and a projection, as some ports have it). The input is added if shape
    and width are kept.

    Args:
        in_channels: width of the input.
        stage: the stage it is a layer of; its stride is not looked at.
        stride: of this layer.
        survival: probability of keeping the residual branch in training.
        settings: of the network.
    """

    def __init__(
        self, in_channels: int, stage: Stage, *, stride: int, survival: float, settings: NetworkSettings
    ) -> None:
        super().__init__()
        inner, channels = in_channels * stage.expand_ratio, stage.channels
        window = Window(stage.kernel, stride)
        single = stage.expand_ratio == 1
        self.expand = nn.Identity() if single else ConvUnit(in_channels, inner, window=window, settings=settings)
        self.squeeze_excite = _squeeze_excite(in_channels, stage, settings)
        self.conv = ConvUnit(in_channels, channels, window=window, settings=settings) if single else nn.Identity()
        self.project = nn.Identity() if single else ConvUnit(inner, channels, settings=settings, linear=True)
        self.stochastic_depth = StochasticDepth(survival)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, channels, ceil(height / s), ceil(width / s))."""
        y: Tensor = self.project(self.conv(self.squeeze_excite(self.expand(x))))
        return x + self.stochastic_depth(y) if self.residual else y


class RegNetYBlock(nn.Module):
    """1x1, grouped convolution with the stride, squeeze-excite, linear 1x1, plus the shortcut, activation.

    The shortcut is a linear 1x1 convolution with the stride where shape or width change (arXiv 2003.13678,
    Figure 3 and section 4, with pycls' squeeze on the block's input width).

    Args:
        in_channels: width of the input.
        stage: the stage it is a layer of; its stride is not looked at.
        stride: of this layer.
        survival: probability of keeping the residual branch in training.
        settings: of the network.
    """

    def __init__(
        self, in_channels: int, stage: Stage, *, stride: int, survival: float, settings: NetworkSettings
    ) -> None:
        super().__init__()
        inner, channels = inner_width(stage, in_channels), stage.channels
        window = Window(stage.kernel, stride, groups=inner // stage.group_width)
        self.expand = ConvUnit(in_channels, inner, settings=settings)
        self.grouped = ConvUnit(inner, inner, window=window, settings=settings)
        self.squeeze_excite = _squeeze_excite(in_channels, stage, settings)
        self.project = ConvUnit(inner, channels, settings=settings, linear=True)
        self.stochastic_depth = StochasticDepth(survival)
        changed = stride != 1 or in_channels != channels
        strided = Window(stride=stride)
        self.shortcut = (
            ConvUnit(in_channels, channels, window=strided, settings=settings, linear=True)
            if changed
            else nn.Identity()
        )
        self.activation = ACTIVATIONS[settings.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, channels, ceil(height / s), ceil(width / s))."""
        y: Tensor = self.project(self.squeeze_excite(self.grouped(self.expand(x))))
        z: Tensor = self.activation(self.shortcut(x) + self.stochastic_depth(y))
        return z


BLOCKS: dict[str, type[MBConv] | type[FusedMBConv] | type[RegNetYBlock]] = {
    "mbconv": MBConv,
    "fused_mbconv": FusedMBConv,
    "regnet_y": RegNetYBlock,
    "regnet_z": MBConv,
}
"""The block of each op a stage can have."""


def _squeeze_excite(in_channels: int, stage: Stage, settings: NetworkSettings) -> nn.Module:
    if not stage.se_ratio:
        return nn.Identity()
    squeeze = squeeze_width(in_channels, stage.se_ratio)  # a share of the block's input, not of the inner width
    return SqueezeExcite(inner_width(stage, in_channels), squeeze, activation=settings.activation)


def _check_survival(survival: float) -> None:
    if not 0 < survival <= 1:
        raise ValueError(f"survival must be above 0 and at most 1; got {survival!r}")
