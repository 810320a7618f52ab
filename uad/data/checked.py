"""An image of a listing after its file was read."""

from dataclasses import dataclass
from pathlib import Path

from uad.data.file_index import Facts
from uad.data.layouts import Item
from uad.data.samples import GOOD, Sample


@dataclass(frozen=True)
class Checked:
    """One usable image of a listing."""

    item: Item
    facts: Facts
    mask: Path | None = None
    """Fits the image and marks something."""
    mask_facts: Facts | None = None

    @property
    def label(self) -> int:
        """0 normal, 1 anomalous."""
        return int(self.item.defect != GOOD)

    @property
    def sample(self) -> Sample:
        """The image where it lies."""
        item, facts = self.item, self.facts
        return Sample(
            path=item.path,
            label=self.label,
            defect=item.defect,
            mask=self.mask,
            sha256=facts.sha256,
            size=facts.size,
            name=item.name,
        )
