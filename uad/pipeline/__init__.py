"""The pipeline API, with PaddleX's surface: `create_pipeline(...).predict(...)`.

with create_pipeline("models:/cookie@champion") as pipeline:
for result in pipeline.predict("photos/"):
result.print()
result.save_to_img("out/")
"""

from uad.pipeline.create import create_pipeline
from uad.pipeline.pipeline import Pipeline
from uad.pipeline.result import Result

__all__ = ["Pipeline", "Result", "create_pipeline"]
