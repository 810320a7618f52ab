"""A twill weave that fills the image; holes, stains and loose threads."""

import numpy as np

from uad.data.demo.noise import Field, Mask, Picture, blob, curve, grid, smooth, to_mask

DEFECTS = ("hole", "stain", "thread")

_WARP = np.array([0.56, 0.40, 0.27], np.float32)  # indigo, BGR
_WEFT = np.array([0.74, 0.75, 0.72], np.float32)  # raw cotton
_THREAD = np.array([0.62, 0.80, 0.88], np.float32)  # straw
_UNDERLAY = np.array([0.09, 0.09, 0.10], np.float32)


def make(rng: np.random.Generator, size: int, defect: str = "") -> tuple[Picture, Mask]:
    """The scene and its mask; `defect` is one of DEFECTS, or empty for a good piece."""
    cloth = _weave(rng, size)
    if defect == "hole":
        return _hole(cloth, rng)
    if defect == "stain":
        return _stain(cloth, rng)
    if defect == "thread":
        return _thread(cloth, rng)
    return cloth, np.zeros((size, size), np.uint8)


def _weave(rng: np.random.Generator, size: int) -> Picture:
    """2/1 twill: each warp yarn passes over two weft yarns and under one, shifted row by row."""
    u, v = _yarns(rng, size)
    warp, weft = np.floor(u), np.floor(v)
    over = (warp - weft) % 3 != 0
    shade_warp = _round(u) * (0.86 + 0.14 * _round((v + warp) / 3 % 1))
    shade_weft = _round(v) * (0.80 + 0.20 * _round(u))
    shade = np.where(over, shade_warp, shade_weft) * _unevenness(rng, size, warp, weft, over)
    colour = np.where(over[..., None], _WARP, _WEFT)
    return np.asarray(colour * shade[..., None], np.float32)


def _yarns(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Yarn coordinates: integers count yarns. The cloth lies a little turned, pulled and wavy."""
    pitch = size / 32 * rng.normal(1, 0.015)
    turn = rng.normal(0, 0.025)
    y, x = grid(size)
    x, y = (
        x + 0.006 * size * smooth(rng, size, (3, 3)),
        y + 0.006 * size * smooth(rng, size, (3, 3)),
    )
    u = (x * np.cos(turn) + y * np.sin(turn)) / pitch + rng.uniform(0, 30)
    v = (y * np.cos(turn) - x * np.sin(turn)) / pitch * 0.92 + rng.uniform(0, 30)
    return u.astype(np.float32), v.astype(np.float32)


def _round(position: Field) -> Field:
    """Brightness across a yarn: light on its crown, dark between two yarns."""
    crown = np.sin(np.pi * (position % 1))
    return np.asarray(0.42 + 0.58 * crown**0.7, np.float32)


def _unevenness(
    rng: np.random.Generator, size: int, warp: Field, weft: Field, over: np.ndarray
) -> Field:
    """No two yarns are dyed or spun alike; fibres along them differ too."""
    dye = 1 + 0.055 * rng.normal(size=(2, 97))
    yarn = np.where(over, dye[0, warp.astype(int) % 97], dye[1, weft.astype(int) % 97])
    fibre = np.where(over, smooth(rng, size, (24, size // 2)), smooth(rng, size, (size // 2, 24)))
    return np.asarray(yarn * (1 + 0.05 * fibre), np.float32)


def _somewhere(rng: np.random.Generator, size: int, margin: float = 0.18) -> tuple[float, float]:
    y, x = rng.uniform(margin * size, (1 - margin) * size, 2)
    return float(y), float(x)


def _hole(cloth: Picture, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """A few yarns are torn: the dark underlay shows, with frayed fibres at the rim."""
    size = cloth.shape[0]
    radius = rng.uniform(0.045, 0.075) * size
    spot = blob(rng, _somewhere(rng, size), radius, size)
    fray = spot + 0.30 * smooth(rng, size, (size // 3, size // 3))
    torn = np.clip(fray * 4, 0, 1)[..., None]
    rim = np.exp(-((spot / 0.35) ** 2))[..., None] * 0.10
    return np.asarray(cloth * (1 - torn) + _UNDERLAY * torn + rim, np.float32), to_mask(
        spot > -0.05
    )


def _stain(cloth: Picture, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """Oil soaked in: darker and browner, with a soft edge; the weave shows through."""
    size = cloth.shape[0]
    spot = blob(rng, _somewhere(rng, size), rng.uniform(0.10, 0.16) * size, size)
    soaked = np.clip(spot * 2.2, 0, 1) * (0.75 + 0.25 * np.clip(1 - spot, 0, 1))
    tint = 1 - rng.uniform(0.95, 1.25) * np.array([0.50, 0.38, 0.26], np.float32)
    return np.asarray(cloth * (1 - soaked[..., None] * (1 - tint)), np.float32), to_mask(
        spot > 0.06
    )


def _thread(cloth: Picture, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """A loose thread lies on the cloth and throws a shadow."""
    size = cloth.shape[0]
    length = rng.uniform(0.35, 0.6) * size
    away = curve(rng, _somewhere(rng, size, 0.3), length, 2.2, size)
    thick = size / 224 * rng.uniform(1.5, 2.1)
    body = np.clip(thick - away + 0.5, 0, 1)[..., None]
    below = np.roll(away, (2, 2), (0, 1))
    shadow = 0.45 * np.exp(-((below / (1.5 * thick)) ** 2))[..., None]
    crown = (0.65 + 0.35 * np.clip(1 - away / (thick + 0.5), 0, 1))[..., None]
    twist = 1 + 0.10 * smooth(rng, size, (size // 3, size // 3))[..., None]
    lit = cloth * (1 - shadow) * (1 - body) + _THREAD * crown * twist * body
    return np.asarray(lit, np.float32), to_mask(away <= thick + 0.5)
