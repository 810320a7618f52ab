"""The page's facts about a product, as JSON; nothing here runs on the event loop."""

import functools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from serving.api.not_kept import not_kept
from serving.api.state import State
from serving.models.products import Product
from uad.bundle import CalibrationEntry, read_bundle
from uad.errors import RequestRefused
from uad.monitoring.drift import detect_drift, moved_by
from uad.monitoring.feedback import kind_of
from uad.monitoring.judged_images import JudgedImage, JudgedImages, Said
from uad.monitoring.score_log import ScoreLog
from uad.registry import ModelRegistry
from uad.scoring.conformal import conformal_threshold, guaranteed_rate
from uad.storage.names import ModelVersionNumber

TILES = 60
MOST_POINTS = 400
MOST_BINS = 40


def server_facts(state: State, *, may_promote: bool) -> dict[str, Any]:
    """What the page's frame needs."""
    return {
        "products": [
            {"name": product.name, "registered": bool(product.registered_name)}
            for product in state.products
        ],
        "keep": state.settings.keep.images,
        "needsKey": state.access.keys is not None,
        "mayPromote": may_promote,
    }


def now(state: State, product: Product) -> dict[str, Any]:
    """Last verdicts, alarms per hour, the version that serves, the newest kept images."""
    served = product.describe()
    entry = _calibration(product)
    kept = _newest(state, product, TILES, None)
    recent = state.recent.newest(product.name, MOST_POINTS)
    return {
        "revision": state.recent.revision,
        "serving": served.get("serving"),
        "desired": served.get("desired"),
        "engine": served.get("engine"),
        "pinned": served.get("pinned"),
        "registry": served.get("registry"),
        "ready": product.reason_not_ready(),
        "alpha": entry.alpha if entry else None,
        "threshold": entry.threshold if entry else None,
        "recent": [each.as_json() for each in recent],
        "warnings": list(recent[-1].warnings) if recent else [],
        "hours": state.recent.hours(product.name),
        "images": kept,
    }


def images(
    state: State, product: Product, before: str | None, *, good: bool = False
) -> dict[str, Any]:
    """Kept images, the newest before `before` first; `good`: without alarms, if there are any."""
    try:
        until = datetime.fromisoformat(before) if before else None
    except ValueError as exc:
        raise RequestRefused(422, "'before' must be a time") from exc
    if good and state.judged_images is not None:
        found = state.judged_images.newest(_place(product), TILES, before=until, judged_good=True)
        if found:
            return {"images": [_as_json(each) for each in found]}
    return {"images": _newest(state, product, TILES, until)}


def image(state: State, product: Product, identifier: str) -> dict[str, Any]:
    """Everything about one kept image, with the calibration scores of the version that serves."""
    _, found = kept_image(state, product, identifier)
    entry = _calibration(product)
    return {
        **_as_json(found),
        "facts": found.facts,
        "words": [
            {"said": word.said, "note": word.note, "who": word.author, "at": word.at.isoformat()}
            for word in found.words
        ],
        "calibration": _spread(entry.scores, found.score) if entry else None,
        "serving": product.describe().get("serving"),
    }


def kept_image(state: State, product: Product, identifier: str) -> tuple[JudgedImages, JudgedImage]:
    """One kept image of the product, and the store that has its files.

    Raises:
        RequestRefused: 404.
    """
    store = state.judged_images
    found = store.get(identifier) if store else None
    if store is None or found is None:
        log_id, _, position = identifier.partition(".")
        raise not_kept(state, log_id, int(position) if position.isdecimal() else 0)
    if found.product != _place(product):
        raise RequestRefused(404, "this image is of another product: choose that product first")
    return store, found


def operating_point(state: State, product: Product, alpha: str | None) -> dict[str, Any]:
    """The threshold for another false alarm rate, and which kept images get another verdict."""
    entry = _calibration(product)
    if entry is None:
        raise RequestRefused(404, "the version that serves has no calibration scores to show")
    try:
        wanted = float(alpha) if alpha else entry.alpha
    except ValueError:
        wanted = 0.0
    if not 0 < wanted < 1:
        raise RequestRefused(422, "'alpha' must be a number between 0 and 1")
    threshold, promised = entry.threshold, entry.alpha
    if wanted != entry.alpha:
        threshold, promised = conformal_threshold(entry.scores, wanted)
    serving = product.describe().get("serving")
    kept = [each for each in _store_newest(state, product) if each.version == serving]
    changed = [each for each in kept if (each.score > threshold) != (each.score > entry.threshold)]
    return {
        "alpha": wanted,
        "promised": guaranteed_rate(promised, entry.n_captures),
        "threshold": threshold,
        "now": {"alpha": entry.alpha, "threshold": entry.threshold},
        "calibrationImages": len(entry.scores),
        "captures": entry.n_captures,
        "compared": len(kept),
        "changed": [_as_json(each) for each in changed[:TILES]],
    }


def versions(product: Product, *, may_promote: bool) -> dict[str, Any]:
    """Champion, challenger, the other versions, and every promotion with who and why."""
    name = product.registered_name
    if not name:
        return {"registered": False, "serving": product.describe().get("serving")}
    registry = ModelRegistry()
    return {
        "registered": True,
        "name": name,
        "serving": product.describe().get("serving"),
        "mayPromote": may_promote,
        "versions": [
            {
                "version": each.version,
                "aliases": list(each.aliases),
                "created": each.created.isoformat(),
                "metrics": each.metrics,
                "gate": each.tags.get("gate.reason"),
                "decision": each.tags.get("gate.decision"),
                "dataset": each.tags.get("uad.dataset"),
                "description": each.summary,
            }
            for each in registry.versions(name)
        ],
        "history": [
            {
                "kind": move.kind,
                "from": move.from_version,
                "to": move.to_version,
                "who": move.actor,
                "why": move.reason,
                "at": move.at.isoformat(),
            }
            for move in reversed(registry.history(name))
        ],
    }


def drift(state: State, product: Product, hours: float = 24.0) -> dict[str, Any]:
    """Whether the last scores are like those of calibration; the newest images that moved it."""
    entry, served = _calibration(product), product.slot.current
    if entry is None or served is None or not product.registered_name:
        return {"images": 0, "detected": False, "moved": []}
    since = datetime.now(UTC) - timedelta(hours=hours)
    log = ScoreLog().read(product.registered_name, ModelVersionNumber(served.version), since)
    scored = [each for each in log if each.engine == served.detector.key]
    scores = [each.score for each in scored]
    found = detect_drift(
        entry.scores,
        scores,
        threshold=entry.threshold,
        alpha=entry.alpha,
        captures=entry.captures,
    )
    changed = found.detected or found.above_range
    moved_most = moved_by(scored, entry.scores, found.direction) if changed else []
    names = [each.image for each in moved_most]
    store = state.judged_images
    moved = store.of_product(names, _place(product)) if store and names else []
    return {
        "images": found.images,
        "detected": found.detected,
        "tooManyAlarms": found.too_many_alarms or found.above_range,
        "direction": found.direction,
        "alarms": found.alarms,
        "expected": found.expected_alarms,
        "moved": [_as_json(each) for each in moved],
    }


def _place(product: Product) -> str:
    """What the product's kept images are filed under."""
    return product.registered_name or product.name


def _newest(
    state: State, product: Product, limit: int, before: datetime | None
) -> list[dict[str, Any]]:
    if state.judged_images is None:
        return []
    found = state.judged_images.newest(_place(product), limit, before=before)
    return [_as_json(each) for each in found]


def _store_newest(state: State, product: Product) -> list[JudgedImage]:
    store: JudgedImages | None = state.judged_images
    return store.newest(_place(product), 500) if store else []


def _as_json(found: JudgedImage) -> dict[str, Any]:
    said: Said | None = found.words[-1].said if found.words else None
    return {
        "id": found.id,
        "logId": found.log_id,
        "position": found.position,
        "at": found.at.isoformat(),
        "version": found.version,
        "score": found.score,
        "threshold": found.threshold,
        "pValue": found.p_value,
        "isAnomalous": found.is_anomalous,
        "size": found.facts.get("size"),
        "said": said,
        "kind": kind_of(found) if found.words else None,
    }


def _calibration(product: Product) -> CalibrationEntry | None:
    """Of the version that serves, on the engine that it runs on."""
    served = product.slot.current
    return _entry(served.detector.bundle, served.detector.key) if served else None


@functools.lru_cache(16)
def _entry(bundle: str, engine: str) -> CalibrationEntry | None:
    return read_bundle(Path(bundle)).manifest.calibration.get(engine)


def _spread(scores: tuple[float, ...], score: float) -> dict[str, Any]:
    """The calibration scores as bars, and how many of them are at least `score`.

    Bars: the first one's start, the width of one, and the counts.
    """
    low, high = min(scores), max(scores)
    bins = min(MOST_BINS, max(8, len(scores) // 4))
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for each in scores:
        counts[min(bins - 1, int((each - low) / width))] += 1
    as_high = sum(each >= score for each in scores)
    bars = {"start": low, "width": width, "counts": counts}
    return {**bars, "images": len(scores), "asHigh": as_high}
