"""A turned metal gear on a belt, never twice in quite the same place; chips, rust, scratches."""

from dataclasses import dataclass

import cv2
import numpy as np

from uad.data.demo.noise import Field, Mask, Picture, blob, curve, grid, smooth, to_mask

DEFECTS = ("chip", "rust", "scratch")

_TEETH = 20
_HOLES = 5
_BELT = np.array([0.235, 0.25, 0.225], np.float32)
_STEEL = np.array([0.66, 0.645, 0.63], np.float32)
_RUST = np.array([0.15, 0.27, 0.45], np.float32)


@dataclass(frozen=True)
class _Pose:
    """Where the part lies; lengths in pixels."""

    y: float
    x: float
    turn: float
    radius: float

    def polar(self, size: int) -> tuple[Field, Field]:
        """Distance from the centre in radii, and angle on the part."""
        y, x = grid(size)
        dy, dx = y - self.y, x - self.x
        distance = np.sqrt(dy**2 + dx**2) / self.radius
        return np.asarray(distance, np.float32), np.asarray(np.arctan2(dy, dx) - self.turn)

    def at(self, distance: float, angle: float) -> tuple[float, float]:
        """Image position (y, x) of a point of the part."""
        reach = distance * self.radius
        angle += self.turn
        return self.y + reach * float(np.sin(angle)), self.x + reach * float(np.cos(angle))


def make(rng: np.random.Generator, size: int, defect: str = "") -> tuple[Picture, Mask]:
    """The scene and its mask; `defect` is one of DEFECTS, or empty for a good part."""
    pose = _pose(rng, size)
    part = _silhouette(pose, size)
    mask = np.zeros((size, size), np.uint8)
    if defect == "chip":
        part, mask = _chipped(part, pose, rng)
    metal = _turned_metal(pose, rng, size)
    if defect == "rust":
        metal, mask = _rusted(metal, part, pose, rng)
    if defect == "scratch":
        metal, mask = _scratched(metal, part, pose, rng)
    return _assemble(part, metal, rng), mask


def _pose(rng: np.random.Generator, size: int) -> _Pose:
    y, x = size * (0.5 + rng.normal(0, 0.010, 2).clip(-0.025, 0.025))
    turn = rng.normal(0, 0.06)
    return _Pose(float(y), float(x), turn, 0.395 * size * rng.normal(1, 0.005))


def _silhouette(pose: _Pose, size: int) -> Field:
    """How much of each pixel the part covers, 0 to 1."""
    distance, angle = pose.polar(size)
    teeth = np.clip(2.2 * np.cos(_TEETH * angle), -1, 1)
    inside = _covers(0.93 + 0.07 * teeth - distance, pose) * _covers(distance - 0.27, pose)
    for hole in range(_HOLES):
        y, x = pose.at(0.555, 2 * np.pi * hole / _HOLES)
        rows, columns = grid(size)
        away = np.sqrt((rows - y) ** 2 + (columns - x) ** 2) / pose.radius
        inside = inside * _covers(away - 0.115, pose)
    return np.asarray(inside, np.float32)


def _covers(depth: Field, pose: _Pose) -> Field:
    """Edge coverage from the signed depth in radii, one pixel wide."""
    return np.asarray(np.clip(depth * pose.radius + 0.5, 0, 1), np.float32)


def _turned_metal(pose: _Pose, rng: np.random.Generator, size: int) -> Picture:
    """Rings left by the lathe, a hub that stands out, and a highlight that follows the lamp."""
    distance, angle = pose.polar(size)
    rings = np.interp(distance, np.linspace(0, 1.2, 160), rng.normal(size=160))
    lamp = rng.normal(-0.7, 0.12) - pose.turn
    shine = 0.10 * np.cos(2 * (angle - lamp)) + 0.05 * np.cos(angle - lamp)
    groove = np.exp(-(((distance - 0.79) / 0.012) ** 2)) + np.exp(
        -(((distance - 0.38) / 0.014) ** 2)
    )
    grain = 0.012 * smooth(rng, size, (size // 2, size // 2)) + 0.015 * smooth(rng, size, (5, 5))
    shade = rng.normal(1, 0.02) + shine + 0.022 * rings - 0.16 * groove + grain
    return np.asarray(_STEEL * shade[..., None], np.float32)


def _assemble(part: Field, metal: Picture, rng: np.random.Generator) -> Picture:
    """The part on the belt, with its shadow and bevelled edges."""
    size = part.shape[0]
    shadow = cv2.GaussianBlur(np.roll(part, (size // 56, size // 70), (0, 1)), (0, 0), size / 70)
    rib = 0.05 * np.sin(grid(size)[1] * (2 * np.pi * 28 / size) + rng.uniform(0, 6))
    weave = (
        rib + 0.05 * smooth(rng, size, (size // 3, size // 3)) + 0.03 * smooth(rng, size, (4, 4))
    )
    belt = _BELT * ((1 + weave) * (1 - 0.55 * shadow))[..., None]
    soft = cv2.GaussianBlur(part, (0, 0), size / 160)
    bevel = 1.5 * (cv2.Sobel(soft, cv2.CV_32F, 0, 1) + cv2.Sobel(soft, cv2.CV_32F, 1, 0)) / 8
    lit = metal * (1 + bevel)[..., None]
    return np.asarray(belt * (1 - part[..., None]) + lit * part[..., None], np.float32)


def _chipped(part: Field, pose: _Pose, rng: np.random.Generator) -> tuple[Field, Mask]:
    """A tooth or a piece of the rim broke off."""
    size = part.shape[0]
    tooth = 2 * np.pi * rng.integers(_TEETH) / _TEETH
    radius = rng.uniform(0.17, 0.25) * pose.radius
    spot = blob(rng, pose.at(rng.uniform(0.90, 0.98), tooth), radius, size, ragged=0.1)
    left = np.asarray(part * np.clip(0.5 - spot * radius, 0, 1), np.float32)
    return left, to_mask(part - left > 0.3)


def _rusted(
    metal: Picture, part: Field, pose: _Pose, rng: np.random.Generator
) -> tuple[Picture, Mask]:
    """Brown, mottled spots on the face."""
    size = part.shape[0]
    place = pose.at(rng.uniform(0.45, 0.85), rng.uniform(0, 2 * np.pi))
    spot = blob(rng, place, rng.uniform(0.17, 0.27) * pose.radius, size)
    mottle = 0.78 + 0.22 * smooth(rng, size, (size // 4, size // 4))
    cover = np.clip(spot * 2.5, 0, 1) * np.clip(mottle, 0.3, 1) * rng.uniform(0.75, 0.95)
    stained = metal * (1 - cover[..., None]) + _RUST * cover[..., None]
    return np.asarray(stained, np.float32), to_mask((spot > 0.05) & (part > 0.5))


def _scratched(
    metal: Picture, part: Field, pose: _Pose, rng: np.random.Generator
) -> tuple[Picture, Mask]:
    """A bright line with a dark flank, cut across the rings."""
    size = part.shape[0]
    place = pose.at(rng.uniform(0.6, 0.75), rng.uniform(0, 2 * np.pi))
    away = curve(rng, place, rng.uniform(0.6, 1.0) * pose.radius, 0.35, size)
    width = size / 224 * rng.uniform(1.2, 1.8)
    bright = 0.60 * np.exp(-((away / width) ** 2))
    flank = 0.45 * np.exp(-((np.roll(away, (2, 1), (0, 1)) / width) ** 2))
    cut = metal * (1 + bright - flank)[..., None]
    return np.asarray(cut, np.float32), to_mask((away <= width + 1) & (part > 0.5))
