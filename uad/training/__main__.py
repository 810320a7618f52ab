"""One process of a training on several devices; `uad.training.distributed` has it started."""

import json
import os
import pickle
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from uad.errors import UadError
from uad.models.parts import EpochMetrics
from uad.storage.atomic_writes import write_file
from uad.training.distributed import EPOCHS, JOB, MODEL, TrainingJob, join
from uad.training.loop import fit


def main(folder: Path) -> None:
    """Do the job in `folder`; the first process writes the epochs and the model there."""
    threading.Thread(target=_end_with_the_one_who_asked, daemon=True).start()
    job: TrainingJob = pickle.loads((folder / JOB).read_bytes())
    ranks = join(job.device)

    def report(metrics: EpochMetrics) -> None:
        with (folder / EPOCHS).open("a") as stream:
            stream.write(json.dumps(asdict(metrics)) + "\n")

    try:
        student = fit(
            job.teacher,
            job.train,
            job.selection,
            job.config,
            on_epoch=report,
            checkpoints=job.checkpoints,
            key=job.key,
            ranks=ranks,
        )
    except UadError as exc:
        (folder / f"error-{ranks.rank}").write_text(str(exc))
        raise SystemExit(1) from exc
    if ranks.first:
        write_file(folder / MODEL, pickle.dumps(student))


def _end_with_the_one_who_asked() -> None:
    """The command closes our standard input when it needs us no more, or dies."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
