"""What cameras do to a scene. All take and give (S, S, 3) uint8 RGB."""

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.models.teacher.distillation.fields import Random

Picture = NDArray[np.uint8]


class Camera:
    """Degrades crops; keeps a bank of noise, because drawing it anew would cost the most."""

    def __init__(self, rng: Random, noise_edge: int = 640) -> None:
        self._rng = rng
        self._noise = rng.standard_normal((noise_edge, noise_edge, 3), np.float32)

    def shoot(self, scene: Picture, size: int) -> Picture:
        """A crop of `scene` at random place, scale, turn and mirroring, degraded."""
        picture = self._crop(scene, size)
        for probability, degrade in (
            (0.6, self._tone),
            (0.25, self._vignette),
            (0.3, self._blur),
            (0.4, self._grain),
            (0.25, self._jpeg),
            (0.12, self._grey),
        ):
            if self._rng.random() < probability:
                picture = degrade(picture)
        return picture

    def _crop(self, scene: Picture, size: int) -> Picture:
        rng, extent = self._rng, scene.shape[0]
        scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.8))))
        turn = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else 0.5 * np.pi * rng.integers(0, 4)
        mirror = rng.choice([-1.0, 1.0])
        cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
        matrix = np.array([[cosine * mirror, -sine, 0], [sine * mirror, cosine, 0]])
        centre = rng.uniform(0.2, 0.8, 2) * extent
        matrix[:, 2] = centre - matrix[:, :2] @ np.array([size / 2, size / 2])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(scene, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT),
            np.uint8,
        )

    def _tone(self, picture: Picture) -> Picture:
        """Gamma, exposure, contrast and a colour cast, as one table per channel."""
        rng = self._rng
        line = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.3))
        contrast = np.exp(rng.normal(0, 0.25))
        cast = np.exp(rng.normal(0, 0.12, 3)) * np.exp(rng.normal(0, 0.15))
        table = np.clip(((line - 0.5) * contrast + 0.5) * cast * 255, 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(picture, table[:, None, :]), np.uint8)

    def _vignette(self, picture: Picture) -> Picture:
        size = picture.shape[0]
        line = np.linspace(-1, 1, size, dtype=np.float32) - np.float32(self._rng.normal(0, 0.3))
        strength = np.float32(self._rng.uniform(0.1, 0.5))
        fall = 1 - strength * np.minimum(1, (line[None, :] ** 2 + line[:, None] ** 2) / 2)
        return (picture * fall[..., None]).astype(np.uint8)

    def _blur(self, picture: Picture) -> Picture:
        if self._rng.random() < 0.75:
            sigma = self._rng.uniform(0.4, 2.0)
            return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
        length = int(self._rng.integers(2, 8))
        return np.asarray(cv2.blur(picture, (length, 1) if length % 2 else (1, length)), np.uint8)

    def _grain(self, picture: Picture) -> Picture:
        size, rng = picture.shape[0], self._rng
        y, x = rng.integers(0, self._noise.shape[0] - size + 1, 2)
        noise = self._noise[y : y + size, x : x + size]
        if rng.random() < 0.5:
            noise = noise[..., :1]
        strength = np.float32(np.exp(rng.uniform(np.log(1), np.log(16))))
        return np.clip(picture + strength * noise, 0, 255).astype(np.uint8)

    def _jpeg(self, picture: Picture) -> Picture:
        quality = int(self._rng.integers(25, 96))
        _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)

    def _grey(self, picture: Picture) -> Picture:
        return np.asarray(
            cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8
        )
