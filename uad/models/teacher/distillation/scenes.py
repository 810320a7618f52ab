"""Coloured scenes: patterns blended with each other, objects with light and shadow laid on them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.models.teacher.distillation.fields import (
    PATTERNS,
    Field,
    Random,
    clipped,
    fractal_noise,
    gradient,
    polygon,
    shapes,
    single,
    smooth_noise,
    spots,
    stretched,
)

Picture = NDArray[np.uint8]


def draw_scene(rng: Random, size: int) -> Picture:
    """One scene, (size, size, 3) uint8 RGB."""
    scene = texture(rng, size)
    for _ in range(int(rng.choice([0, 1, 1, 2, 3]))):
        scene = _blend(scene, texture(rng, size), _region(rng, size))
    kind = rng.random()
    if kind < 0.3:
        scene = _with_object(rng, scene, size * rng.uniform(0.2, 0.45), centred=True)
    elif kind < 0.6:
        for _ in range(int(rng.integers(2, 5))):
            scene = _with_object(rng, scene, size * rng.uniform(0.04, 0.2), centred=False)
    return _warped(rng, scene) if rng.random() < 0.25 else scene


def texture(rng: Random, size: int) -> Picture:
    """A pattern, or two mixed, in a random range of colours: (size, size, 3) uint8 RGB."""
    field = _pattern(rng, size)
    if rng.random() < 0.5:
        other = _pattern(rng, size)
        field = field * other if rng.random() < 0.4 else field + rng.uniform(0.2, 1) * other
        field = stretched(field)
    index = np.clip(field * 255, 0, 255).astype(np.uint8)
    return palette(rng)[index]


def palette(rng: Random) -> Picture:
    """(256, 3) uint8 RGB: a smooth or stepped path through a few colours, often nearly grey."""
    count = int(rng.integers(2, 7))
    colours = rng.random((count, 3))
    if rng.random() < 0.6:  # like materials: one hue, most variation in brightness
        hue = rng.random(3)
        brightness = rng.random((count, 1))
        colours = brightness * (1 + rng.uniform(0, 0.6) * (hue - 0.5)) + rng.normal(
            0, 0.04, (count, 3)
        )
    places = np.sort(rng.random(count))
    places[0], places[-1] = 0, 1
    line = np.linspace(0, 1, 256)
    path = np.stack([np.interp(line, places, colours[:, c]) for c in range(3)], 1)
    low = rng.uniform(0, 0.35)
    high = rng.uniform(low + 0.15, 1.0)
    return np.clip((low + path * (high - low)) * 255, 0, 255).astype(np.uint8)


def _pattern(rng: Random, size: int) -> Field:
    draw = PATTERNS[int(rng.integers(0, len(PATTERNS)))]
    if rng.random() < 0.3:  # the same pattern seen from nearer
        small = draw(rng, size // 2)
        return np.asarray(
            cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.float32
        ).clip(0, 1)
    return draw(rng, size)


def _region(rng: Random, size: int) -> Field:
    """Where the second texture shows: smooth, sharp or shape-like, (size, size) in [0, 1]."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return gradient(rng, size)
    draw = (fractal_noise, shapes, spots)[kind - 1]
    sharpness = rng.choice([1.5, 8.0, 60.0])
    return clipped((draw(rng, size) - rng.uniform(0.3, 0.7)) * sharpness + 0.5)


def _blend(below: Picture, above: Picture, share: Field) -> Picture:
    return np.asarray(
        cv2.blendLinear(below, above, np.float32(1) - share, share.astype(np.float32)), np.uint8
    )


def _with_object(rng: Random, scene: Picture, radius: float, *, centred: bool) -> Picture:
    """Lay one object with its own texture, light from one side and a soft shadow on `scene`."""
    size = scene.shape[0]
    mask = _outline(rng, size, radius, centred=centred)
    surface = (
        texture(rng, size) if rng.random() < 0.8 else np.full_like(scene, rng.integers(0, 256))
    )
    lit = _lit(rng, surface, mask, radius)
    shift = rng.uniform(-0.15, 0.15, 2) * radius
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(mask, move, (size, size)), (0, 0), 1 + radius * 0.06)
    dark = np.float32(rng.uniform(0, 0.7)) * shadow
    grounded = (scene * (1 - dark)[..., None]).astype(np.uint8)
    return _blend(grounded, lit, mask)


def _outline(rng: Random, size: int, radius: float, *, centred: bool) -> Field:
    spread = size * (0.06 if centred else 0.35)
    centre = tuple(int(v) for v in size / 2 + rng.uniform(-1, 1, 2) * spread)
    mask = np.zeros((size, size), np.uint8)
    if rng.random() < 0.5:
        axes = (int(radius), max(2, int(radius * rng.uniform(0.3, 1))))
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    else:
        corners = polygon(rng, (centre[0], centre[1]), radius, int(rng.integers(3, 12)))
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA)
    if rng.random() < 0.3:
        cv2.circle(mask, centre, max(1, int(radius * rng.uniform(0.1, 0.5))), 0, -1, cv2.LINE_AA)
    return single(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.5)) / 255)


def _lit(rng: Random, surface: Picture, mask: Field, radius: float) -> Picture:
    """Shade by the slope of the blurred outline, as a rounded body under one light."""
    round_off = cv2.GaussianBlur(mask, (0, 0), max(1.0, radius * rng.uniform(0.05, 0.3)))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * cv2.Sobel(round_off, cv2.CV_32F, 1, 0)
    slope = slope + np.sin(angle) * cv2.Sobel(round_off, cv2.CV_32F, 0, 1)
    light = 1 + rng.uniform(0, 0.8) * slope / max(float(np.abs(slope).max()), 1e-6)
    return np.asarray(np.clip(surface * light[..., None], 0, 255), np.uint8)


def _warped(rng: Random, scene: Picture) -> Picture:
    size = scene.shape[0]
    strength = np.float32(rng.uniform(size * 0.005, size * 0.03))
    line = np.arange(size, dtype=np.float32)
    x = line[None, :] + strength * smooth_noise(rng, size, int(rng.integers(2, 12)))
    y = line[:, None] + strength * smooth_noise(rng, size, int(rng.integers(2, 12)))
    return np.asarray(
        cv2.remap(scene, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8
    )
