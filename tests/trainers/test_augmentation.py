"""`Augmentation`: its text form there and back, and which values are taken."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.augmentation import Augmentation

AUGMENTATIONS = st.builds(
    Augmentation,
    crop=st.floats(0, 0.5) | st.just(0),
    flip=st.booleans(),
    randaugment=st.floats(0, 30) | st.integers(0, 30),
    randaugment_layers=st.integers(1, 5),
    cutout=st.floats(0, 1) | st.integers(0, 1),
    mixup=st.floats(0, 100) | st.integers(0, 100),
    cutmix=st.floats(0, 100),
)


@given(AUGMENTATIONS)
def test_the_text_names_the_augmentation(augmentation: Augmentation) -> None:
    assert Augmentation.parse(str(augmentation)) == augmentation


@pytest.mark.parametrize(
    ("text", "augmentation", "written"),
    [
        ("", Augmentation(), "none"),
        ("none", Augmentation(), "none"),
        (" none ", Augmentation(), "none"),
        ("crop", Augmentation(crop=0.125), "crop:0.125"),
        ("crop:0", Augmentation(), "none"),
        ("flip", Augmentation(flip=True), "flip"),
        ("randaugment", Augmentation(randaugment=10), "randaugment:10"),
        ("cutout", Augmentation(cutout=0.5), "cutout:0.5"),
        ("mixup", Augmentation(mixup=0.2), "mixup:0.2"),
        ("cutmix", Augmentation(cutmix=1), "cutmix:1"),
        ("randaugment_layers:3", Augmentation(randaugment_layers=3), "randaugment_layers:3"),
        (
            "crop,flip,randaugment:10,mixup:0.2",
            Augmentation(crop=0.125, flip=True, randaugment=10, mixup=0.2),
            "crop:0.125,flip,randaugment:10,mixup:0.2",
        ),
        (
            " mixup : 2e-1 , randaugment:6.67,flip",
            Augmentation(flip=True, randaugment=6.67, mixup=0.2),
            "flip,randaugment:6.67,mixup:0.2",
        ),
    ],
)
def test_texts(text: str, augmentation: Augmentation, written: str) -> None:
    assert Augmentation.parse(text) == augmentation
    assert str(augmentation) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop,blur", "must be none, or some of crop, flip, .*, separated by commas; got 'blur'"),
        ("crop,,flip", "separated by commas; got ''"),
        ("crop,", "separated by commas; got ''"),
        ("none,flip", "separated by commas; got 'none'"),
        ("Crop", "separated by commas; got 'Crop'"),
        ("crop,flip,crop:0.2", "must name each way once; got crop twice in 'crop,flip,crop:0.2'"),
        ("flip:1", "flip must stand alone, without a value; got 'flip:1'"),
        ("mixup:much", "mixup must have a number, such as mixup:0.2; got 'mixup:much'"),
        ("mixup:", "mixup must have a number, such as mixup:0.2; got 'mixup:'"),
        ("mixup:0.2:0.4", "mixup must have a number"),
        ("randaugment_layers", "must have an integer, such as randaugment_layers:2; got 'randaugment_layers'"),
        ("randaugment_layers:1.5", "must have an integer, such as randaugment_layers:2; got 'randaugment_layers:1.5'"),
        ("randaugment_layers:0", "randaugment_layers must be an integer of at least 1; got 0"),
        ("crop:0.6", "crop must be a number from 0 .off. to 0.5; got 0.6"),
        ("cutout:nan", "cutout must be a number from 0 .off. to 1; got nan"),
    ],
)
def test_a_text_that_names_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation.parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": -0.1}, "crop must be a number from 0 .off. to 0.5; got -0.1"),
        ({"crop": "0.1"}, "crop must be a number from 0 .off. to 0.5; got '0.1'"),
        ({"flip": 1}, "flip must be True or False; got 1"),
        ({"randaugment": 31}, "randaugment must be a number from 0 .off. to 30; got 31"),
        ({"randaugment": math.nan}, "randaugment must be a number .*; got nan"),
        ({"randaugment_layers": 2.0}, "randaugment_layers must be an integer of at least 1; got 2.0"),
        ({"randaugment_layers": True}, "randaugment_layers must be an integer of at least 1; got True"),
        ({"cutout": 1.1}, "cutout must be a number from 0 .off. to 1; got 1.1"),
        ({"mixup": True}, "mixup must be a number from 0 .off. to 100; got True"),
        ({"mixup": -1}, "mixup must be a number from 0 .off. to 100; got -1"),
        ({"cutmix": math.inf}, "cutmix must be a number from 0 .off. to 100; got inf"),
    ],
)
def test_a_value_out_of_its_range_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**values)
