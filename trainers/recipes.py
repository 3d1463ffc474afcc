"""The published trainings as recipes, each field with its source, and two of ours for small means.

[paper] is arXiv 2104.00298; [code] google/automl `efficientnetv2/` (`hparams.py`, `datasets.py`,
`effnetv2_configs.py`, `preprocessing.py`); [scaling] arXiv 2103.06877, "Fast and Accurate Model Scaling". Where paper
and code differ there is a recipe for each, or a comment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trainers.augmentation import Augmentation
from trainers.progressive import Progression
from trainers.recipe import Recipe


def imagenet_paper_s() -> Recipe:
    """EfficientNetV2-S on ILSVRC2012, as the paper says."""
    return _imagenet_paper(
        # [paper] Table 6: sizes 128 to 300, RandAugment 5 to 15, mixup 0, dropout .1 to .3
        Progression(kind="paper", smallest=128, randaugment=(5, 15), mixup=(0, 0), dropout=(0.1, 0.3)),
        image_size=300,
        eval_size=384,  # training sizes are some 20 % below it ([paper], section 5.1; [code] effnetv2_configs.py)
    )


def imagenet_paper_m() -> Recipe:
    """EfficientNetV2-M on ILSVRC2012, as the paper says."""
    return _imagenet_paper(
        # [paper] Table 6: sizes 128 to 380, RandAugment 5 to 20, mixup 0 to .2, dropout .1 to .4
        Progression(kind="paper", smallest=128, randaugment=(5, 20), mixup=(0, 0.2), dropout=(0.1, 0.4)),
        image_size=380,
        eval_size=480,  # the paper's highest
    )


def imagenet_paper_l() -> Recipe:
    """EfficientNetV2-L on ILSVRC2012, as the paper's first version says."""
    return _imagenet_paper(
        # [paper, v1] Table 6: sizes 128 to 380, RandAugment 5 to 25, mixup 0 to .4, dropout .1 to .5
        Progression(kind="paper", smallest=128, randaugment=(5, 25), mixup=(0, 0.4), dropout=(0.1, 0.5)),
        image_size=380,
        eval_size=480,
    )


def imagenet_released_s() -> Recipe:
    """EfficientNetV2-S on ILSVRC2012, as the released code trains it."""
    return _imagenet_released(magnitude=10, alpha=0.0, dropout=0.2, image_size=300, eval_size=384)


def imagenet_released_m() -> Recipe:
    """EfficientNetV2-M on ILSVRC2012, as the released code trains it."""
    return _imagenet_released(magnitude=15, alpha=0.2, dropout=0.3, image_size=384, eval_size=480)


def imagenet_released_l() -> Recipe:
    """EfficientNetV2-L on ILSVRC2012, as the released code trains it."""
    return _imagenet_released(magnitude=20, alpha=0.5, dropout=0.4, image_size=384, eval_size=480)


def imagenet_released_xl() -> Recipe:
    """EfficientNetV2-XL on ILSVRC2012, as the released code has it; its weights come from ImageNet-21k."""
    return _imagenet_released(magnitude=20, alpha=0.5, dropout=0.4, image_size=384, eval_size=512)


def imagenet21k() -> Recipe:
    """Pre-training on ImageNet-21k, as the released code's `ImageNet21k`; the paper: 60 or 30 epochs, cosine."""
    return replace(
        _base(),
        epochs=60,  # [code]
        learning_rate=0.008,  # [code] .128 at a batch of 4096
        schedule="cosine",  # [code], [paper]
        warmup_epochs=1.0,  # [code]
        label_smoothing=0.0,  # [code]
        # [code] augname None, "disable all augmentation and mixup"; its preprocessing still crops and flips
        augmentation=Augmentation(flip=True),
        dropout=0.0,  # [code] 1e-6
        survival=1.0,  # [code]
        # [paper] targets that sum to 1, and softmax: so in any recipe, where pictures come with lists of labels
        image_size=224,  # [code] and no stages
        eval_size=224,  # [code]
        eval_crop="released",  # [code] preprocessing.py: n / (n + 32) of the centre below 320 px, else all, squashed
        normalisation="released",  # [code] (x - 128) / 128
    )


def finetune() -> Recipe:
    """Fine-tuning a pre-trained network on ILSVRC2012, as the released code's `ImagenetFt`; the paper: cosine."""
    return replace(
        _base(),
        epochs=15,  # [paper], [code]
        min_steps=10_000,  # [code]
        batch_size=512,  # [code]
        learning_rate=0.0005,  # [code] .001 at a batch of 512
        schedule="constant",  # [code]
        warmup_epochs=1.0,  # [code]
        ema=0.9996,  # [code]
        augmentation=Augmentation(flip=True, cutout=0.5),  # [code] "ft"; ours cuts out to grey, theirs to noise
        min_crop_area=1.0,  # [code] the whole picture, resized
        dropout=0.0,  # [code] 1e-6
        survival=0.8,  # [code]
        image_size=384,  # [code] that of evaluation: 384 for S, 480 for M and L, 512 for XL
        eval_size=384,
        eval_crop="released",  # [code] preprocessing.py: n / (n + 32) of the centre below 320 px, else all, squashed
        normalisation="released",  # [code] (x - 128) / 128
    )


def transfer() -> Recipe:
    """Fine-tuning on CIFAR, Flowers or Cars, as the paper's section 5.3; the released code reuses `finetune`."""
    return replace(
        finetune(),
        min_steps=10_000,  # [paper] the length of the training: more than the 15 epochs of any of these data sets
        schedule="cosine",  # [paper] from .001 at a batch of 512
        weight_decay=0.0,  # [paper]
        augmentation=Augmentation(cutout=0.5),  # [paper] cutout alone; the code flips too
    )


def fast_scaling() -> Recipe:
    """The training of "Fast and Accurate Model Scaling", at the 2x schedule; 100 and 400 epochs are 1x and 4x."""
    return Recipe(
        epochs=200,  # [scaling]
        batch_size=1024,  # [scaling]
        learning_rate=0.5,  # [scaling] λ = 2.0 at a batch of 1024
        momentum=0.9,  # [scaling]
        weight_decay=1e-5,  # [scaling] for EfficientNets; 2e-5 for RegNets. Batch norm is not decayed
        warmup_epochs=5.0,  # [scaling]
        schedule="exponential",
        decay_factor=0.02,  # [scaling] λ β^(t / T), β = .02
        decay_epochs=None,
        label_smoothing=0.1,  # [scaling]
        # [scaling] mixup .2; there AutoAugment, here RandAugment at the strength of its ResNet-50 (arXiv 1909.13719)
        augmentation=Augmentation(flip=True, randaugment=9, mixup=0.2),
        ema=0.9999,  # [scaling] has one, and does not say its decay: EfficientNet's
        min_crop_area=0.08,  # the usual for ImageNet
        image_size=224,  # of the 400 MF networks; a scaled one brings its own
    )


def proxy() -> Recipe:
    """The brief training of a search's candidates; ours (the paper does not publish its own)."""
    return Recipe()


def small_cpu() -> Recipe:
    """Some thousand pictures of up to 128 px on a CPU, with progressive learning; ours."""
    return Recipe(
        epochs=20,
        batch_size=64,
        learning_rate=0.8,  # of .2, .6, 1 and 1.2 on Imagenette, .6 to 1 came out best (docs/benchmarks.md)
        weight_decay=5e-5,
        warmup_epochs=2.0,
        label_smoothing=0.1,
        augmentation=Augmentation(flip=True, randaugment=10),
        min_crop_area=0.5,
        dropout=0.2,
        survival=0.9,
        ema=0.99,  # a hundred steps: what 0.9999 averages over, such a training does not have
        image_size=128,
        # the paper's form; from 48 px the four stages have 53 % of the pixels of a training at 128 px throughout
        progression=Progression(kind="paper", smallest=48, randaugment=(2, 10), dropout=(0.0, 0.2)),
    )


def _base() -> Recipe:
    """What all trainings of EfficientNetV2 have in common."""
    return Recipe(
        epochs=350,  # [paper], [code]
        batch_size=4096,  # [paper], [code]
        learning_rate=0.016,  # [code] for a batch of 256: the paper's .256 at 4096
        optimizer="rmsprop",  # [paper], [code]
        rms_decay=0.9,  # [paper], [code]
        momentum=0.9,  # [paper], [code]
        epsilon=1e-3,  # [code] utils.py, build_optimizer
        schedule="exponential",  # [paper], [code]
        decay_factor=0.97,  # [paper], [code]
        decay_epochs=2.4,  # [paper], [code]: in steps, counted from step 0
        warmup_epochs=5.0,  # [code]
        weight_decay=1e-5,  # [paper], [code]
        l2=True,  # [code] ½‖w‖² of all but biases and batch norm
        label_smoothing=0.1,  # [code]
        ema=0.9999,  # [paper], [code]
        min_crop_area=0.05,  # [code] preprocessing.py, area_range
        survival=0.8,  # [paper], [code]
        bn_momentum=0.1,  # [code] decay .9
        augmentation=Augmentation(flip=True, randaugment_layers=2),  # [code]
    )


def _imagenet_paper(progression: Progression, *, image_size: int, eval_size: int) -> Recipe:
    base, last = _base(), [(getattr(progression, name) or (0, 0))[1] for name in ("randaugment", "mixup", "dropout")]
    return replace(
        base,
        augmentation=replace(base.augmentation, randaugment=last[0], mixup=last[1]),
        dropout=last[2],
        bn_momentum=0.01,  # [paper] decay .99
        image_size=image_size,
        eval_size=eval_size,
        progression=replace(progression, stages=4),  # [paper] section 5.1: of some 87 epochs
    )


def _imagenet_released(*, magnitude: float, alpha: float, dropout: float, image_size: int, eval_size: int) -> Recipe:
    """`effnetv2_configs.py` of a network: its magnitude, alpha of mixup and CutMix, dropout, and sizes."""
    base = _base()
    return replace(
        base,
        augmentation=replace(base.augmentation, randaugment=magnitude, mixup=alpha, cutmix=alpha),
        dropout=dropout,  # its schedule is computed there and not used
        image_size=image_size,
        eval_size=eval_size,
        eval_crop="released",  # [code] preprocessing.py: n / (n + 32) of the centre below 320 px, else all, squashed
        normalisation="released",  # [code] (x - 128) / 128
        progression=Progression(
            kind="released",
            stages=4,
            smallest=128,  # ibase
            randaugment=(5, magnitude),  # linspace(5, ram, stages)
            mixup=(0, alpha),
            cutmix=(0, alpha),
        ),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "imagenet-paper-s": imagenet_paper_s,
    "imagenet-paper-m": imagenet_paper_m,
    "imagenet-paper-l": imagenet_paper_l,
    "imagenet-released-s": imagenet_released_s,
    "imagenet-released-m": imagenet_released_m,
    "imagenet-released-l": imagenet_released_l,
    "imagenet-released-xl": imagenet_released_xl,
    "imagenet21k": imagenet21k,
    "finetune": finetune,
    "transfer": transfer,
    "fast-scaling": fast_scaling,
    "proxy": proxy,
    "small-cpu": small_cpu,
}
"""By name; `replace` changes fields of what they give."""
