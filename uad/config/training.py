"""Settings of one training: data split, input, teacher, optimisation, score, calibration."""

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from uad.config.loading import Settings
from uad.config.score import ScoreDefinition


def group_pattern_error(pattern: str) -> str | None:
    """Why it cannot tell captures apart; None for a regular expression with a group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as exc:
        return f"The group pattern '{pattern}' is not a regular expression: {exc}"
    if groups:
        return None
    return (
        f"The group pattern '{pattern}' has no group. Put parentheses around what images of one "
        r"capture share, for example '_num_(\d+)'"
    )


def _group_pattern(pattern: str) -> str:
    if told := group_pattern_error(pattern):
        raise ValueError(told)
    return pattern


Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Channels = tuple[float, float, float]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Polygon = Annotated[tuple[tuple[Fraction, Fraction], ...], Field(min_length=3)]
"""Corners (x, y) as fractions of the image's width and height."""
Area = Annotated[tuple[Polygon, ...], Field(min_length=1)]
"""An outer polygon and the holes in it."""
Areas = tuple[Area, ...]


class Zone(Settings):
    """A part of the image with a false alarm rate of its own, out of the image's `alpha`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,39}$")]
    areas: Annotated[Areas, Field(min_length=1)]
    alpha: Share


Zones = tuple[Zone, ...]
"""A place in two of them belongs to the first; ignored regions belong to none."""


class SplitConfig(Settings):
    """How the normal training images are shared out: seeded, by capture group if one is named."""

    seed: int = 0
    selection_share: Share = 0.15
    """Share of the normals that choose checkpoint and score."""
    calibration_share: Share = 0.2
    """Share of the normals that set the threshold; raised to what alpha needs on small sets."""
    alpha: Share = 0.05
    """Target false alarm rate; alpha needs ceil(1/alpha) - 1 calibration images."""
    min_area: Annotated[int, Field(ge=0)] = 0
    """Smallest defect that raises the alarm, in pixels of the images; 0: any. Calibration is for
    it."""
    group_pattern: Annotated[str, AfterValidator(_group_pattern)] | None = None
    r"""Regular expression with one group; names that share it stay together (`_num_(\d+)`)."""
    exclude: tuple[str, ...] = ()
    """Names of normal images to leave out, as `uad suspects` prints them."""
    without_suspects: bool = False
    """Training adds what `uad suspects` reports to `exclude`."""
    normal: tuple[str, ...] = ()
    """Folders of good images, if names do not say so: below the data's folder, or whole paths."""
    defects: tuple[str, ...] = ()
    """Folders of images of defects."""
    masks: tuple[str, ...] = ()
    """Folders of masks, which mark where a defect is."""


Side = Annotated[int, Field(ge=32, le=4096, multiple_of=16)]


class InputSpec(Settings):
    """What the network sees; the same in training, evaluation and serving."""

    height: Side = 256
    width: Side = 256
    interpolation: Literal["area", "linear", "cubic"] = "area"
    mean: Channels = (0.485, 0.456, 0.406)
    """Per channel, RGB order, of pixel values scaled to [0, 1]."""
    std: Channels = (0.229, 0.224, 0.225)
    ignore: Areas = ()
    """Regions that are painted over before the network sees the image (`uad.scoring.zones`); a
    training takes its dataset's."""


class InputConfig(Settings):
    """The same before the images are known."""

    height: Side | Literal["auto"] = "auto"
    """`auto`: the images' own shape at the area of 256 x 256; `uad.data.input_shape`."""
    width: Side | Literal["auto"] = "auto"
    interpolation: Literal["area", "linear", "cubic"] = "area"
    mean: Channels = InputSpec().mean
    std: Channels = InputSpec().std
    ignore: Areas = ()
    """As `InputSpec.ignore`; a dataset's own zones go before it."""

    def spec(self) -> InputSpec:
        """The numbers a network is built for; both sides must be known by now."""
        return InputSpec.model_validate(self.model_dump())


class ModelConfig(Settings):
    """The student-teacher pair."""

    width: Annotated[int, Field(ge=4, le=256, multiple_of=4)] = 64
    """Channels of the first level; 64 is ResNet-18, tests use 8."""


class DetectorConfig(Settings):
    """Which parts the detector has; how much each weighs is chosen on normal images."""

    student: bool = True
    """STFPM's: the only part that needs training. Off: no training, as by `--quick`."""
    memory: bool = True
    """How far each location's features are from those of normal images."""
    whole_image: bool = True
    """How unusual the whole image's mean and spread of each feature are."""
    memory_features: Annotated[int, Field(ge=1, le=50_000)] = 4000
    """Largest number of features in the memory; each takes time in every inference."""

    @model_validator(mode="after")
    def _not_nothing(self) -> "DetectorConfig":
        if not (self.student or self.memory):
            raise ValueError(
                "student and memory cannot both be off, because there would be no anomaly map"
            )
        return self


class AugmentationConfig(Settings):
    """Harmless changes that the product's good parts really show; none by default.

    With any of them the teacher runs at every step, as its features cannot be kept.
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Images are multiplied by a factor between 1 - this and 1 + this."""

    @property
    def on(self) -> bool:
        """Whether anything changes the images."""
        return self.flip_horizontal or self.flip_vertical or self.brightness > 0


class OptimisationConfig(Settings):
    """The training loop."""

    epochs: Annotated[int, Field(ge=1)] = 3
    min_steps: Annotated[int, Field(ge=0)] = 200
    """Small sets get more epochs, until this many steps are made."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.4
    schedule: Literal["constant", "cosine"] = "constant"
    """Cosine: warm-up over `warmup_share` of the steps, then down to zero (Loshchilov and Hutter,
    ICLR 2017)."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Above 0: the result is a moving average of the student's weights."""
    augmentation: AugmentationConfig = AugmentationConfig()
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many epochs without a better selection loss; 0 never stops early."""
    bfloat16: bool = True
    """Mixed precision (O1) on GPUs that have bfloat16; nothing on a CPU."""
    seed: int = 0
    cache_bytes: Annotated[int, Field(ge=0)] = 2 * 1024**3
    """Decoded images and teacher features above this size lie on disk, memory-mapped."""

    def steps(self, images: int) -> int:
        """Steps of an epoch with this many images."""
        return math.ceil(images / self.batch_size)

    def planned_epochs(self, images: int) -> int:
        """Unless `patience` ends them earlier."""
        return max(self.epochs, math.ceil(self.min_steps / self.steps(images)))


def _yaml_off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class ExportConfig(Settings):
    """What the bundle gets besides the float32 model."""

    int8: Annotated[Literal["auto", "off"], BeforeValidator(_yaml_off)] = "auto"
    """`auto`: also an 8-bit model, for each engine here on which it is as accurate as float32."""


class TrainingConfig(Settings):
    """Everything that determines a training, except the images and the teacher's file."""

    data: SplitConfig = SplitConfig()
    input: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    detector: DetectorConfig = DetectorConfig()
    training: OptimisationConfig = OptimisationConfig()
    score: Literal["auto"] | ScoreDefinition = "auto"
    """`auto` compares candidates on the selection normals with planted defects."""
    export: ExportConfig = ExportConfig()
