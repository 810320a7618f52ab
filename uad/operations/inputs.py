"""What a training is made of, and what a version is evaluated on: read once, then passed on."""

from uad.config import SplitConfig, TrainingConfig
from uad.data import Dataset, load_dataset
from uad.models.parts import Teacher
from uad.models.teacher import load_teacher
from uad.storage.names import DatasetAddress
from uad.training.suspects import leave_out_suspects


class EvaluationImages:
    """A dataset version with its address. A plain class: Prefect looks into no such parameter."""

    def __init__(self, address: DatasetAddress, dataset: Dataset) -> None:
        self.address = address
        self.dataset = dataset

    @classmethod
    def load(cls, address: str) -> "EvaluationImages":
        """A stored dataset, by its address."""
        return cls(DatasetAddress(address), load_dataset(address, SplitConfig()))


class TrainingInputs:
    """Images, settings and teacher of one training. A plain class, as above."""

    def __init__(
        self, dataset: Dataset, asked: TrainingConfig, config: TrainingConfig, teacher: Teacher
    ) -> None:
        self.dataset = dataset
        self.asked = asked
        """The settings as they were given."""
        self.config = config
        """The same with the suspects named in `data.exclude`, where they are left out."""
        self.teacher = teacher

    @property
    def address(self) -> DatasetAddress:
        """`name@version` of the dataset."""
        return self.dataset.address

    @property
    def images(self) -> EvaluationImages:
        """What the new version is evaluated on."""
        return EvaluationImages(self.address, self.dataset)

    @property
    def key(self) -> str:
        """Hash of all that decides the weights: images, settings, teacher."""
        from uad.training import training_key

        return training_key(self.dataset, self.asked, self.teacher)


def training_inputs(
    data: str, teacher: str, config: TrainingConfig, *, progress: bool = False
) -> TrainingInputs:
    """Read the teacher and the images, and find the suspects where the settings ask for it."""
    weights = load_teacher(teacher, width=config.model.width, seed=config.training.seed)
    settled = leave_out_suspects(data, config, weights, progress=progress)
    dataset = load_dataset(data, settled.data)
    return TrainingInputs(dataset, config, settled, weights)
