"""Judged images for tests: any picture with any verdict."""

import hashlib
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from uad.monitoring.judged_images import JudgedImage, JudgedImages, Pictures, Word

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def keep(
    store: JudgedImages,
    name: str,
    *,
    alarm: bool,
    seed: int = 0,
    minute: int = 0,
    version: str = "1",
    product: str = "cookie",
    limit_bytes: int = 10**9,
) -> JudgedImage:
    """Keep one image under the id `name`."""
    pictures = Pictures(picture(seed), b"preview", b"heatmap")
    image = JudgedImage(
        id=name,
        log_id=name,
        position=0,
        product=product,
        version=version,
        engine="onnxruntime/fp32",
        at=START + timedelta(minutes=minute),
        score=2.0 if alarm else 0.5,
        threshold=1.0,
        alpha=0.05,
        p_value=0.01 if alarm else 0.6,
        is_anomalous=alarm,
        sha256=hashlib.sha256(pictures.original).hexdigest(),
        suffix=pictures.suffix,
        bytes=pictures.total_bytes,
        facts={"size": [24, 32]},
    )
    store.keep(image, pictures, limit_bytes=limit_bytes)
    return image


def word(said: str, who: str = "anna", minute: int = 60, note: str = "") -> Word:
    return Word(said, note, who, "127.0.0.1", START + timedelta(minutes=minute))  # type: ignore[arg-type]
