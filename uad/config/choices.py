"""Words that commands, flows and settings choose from."""

from typing import Literal

Mode = Literal["gate", "always", "never", "ask"]
"""Who decides whether a new version serves: the gate's rule, nobody, a person later, or a person
whom the run asks."""
Runner = Literal["here", "processes", "dask"]
"""Where the trainings of many products run."""
