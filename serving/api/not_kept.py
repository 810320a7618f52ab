"""Why there is no kept image for a logId, in words that say what to do."""

import re
from datetime import UTC, datetime, timedelta

from serving.api.state import State
from serving.telemetry.recorders import MOST_VERDICTS
from uad.errors import RequestRefused
from uad.monitoring.score_log import ScoreLog

DAYS = 30
"""How far back the score log is searched."""
_LOG_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NO_LOG_ID = (
    "this is not a logId: copy `logId` from the answer about the image; it looks like "
    "0f8fad5b-d9cb-469f-a165-70867728950e"
)
COPY = "copy `logId` from the answer about the image, and ask the server that gave the answer"
START_WITH = "start the server with `--set keep.images=alarms` or `all`"
NOTHING_KEPT = f"this server keeps no images: {START_WITH}"
REMOVED = (
    "the image of this logId was removed again to make room for newer ones: to keep images longer, "
    "start the server with a larger `--set keep.megabytes={megabytes}`"
)
FILE_GONE = (
    "the image of this logId was removed from the server's disk, but not by uad: do not delete "
    "files there; `keep.megabytes` limits the space"
)


def not_kept(state: State, log_id: str, position: int | None = None) -> RequestRefused:
    """404, and why: no such answer, its image was not kept, or was removed again."""
    return RequestRefused(404, _reason(state, log_id, position))


def _reason(state: State, log_id: str, position: int | None) -> str:
    if not _LOG_ID.fullmatch(log_id):
        return NO_LOG_ID
    removed = state.judged_images.removed(log_id) if state.judged_images else []
    if any(position in (None, _position(each)) for each in removed):
        return REMOVED.format(megabytes=2 * state.settings.keep.megabytes)
    judged = _judged(state, log_id)
    if not judged:
        return f"this server has no answer with this logId{_memory(state)}: {COPY}"
    if position is not None and position not in judged:
        known = ", ".join(str(each) for each in sorted(judged))
        return f"the answer with this logId has no verdict on image {position}; it has: {known}"
    return _words(state, is_alarm=any(judged.values()) if position is None else judged[position])


def _words(state: State, *, is_alarm: bool) -> str:
    """Why an image that was judged is not kept."""
    match state.settings.keep.images:
        case "none":
            return f"the image of this logId is not kept: {START_WITH}"
        case "alarms" if not is_alarm:
            why = (
                "it raised no alarm, and this server keeps only images with an alarm; to report a "
                "missed defect, judge its picture in the view Try of the server's page and say "
                "there that it is defective, or start the server with `--set keep.images=all`"
            )
        case kept:
            why = (
                f"`keep.images` is `{kept}` now, but the image was judged before that was set, "
                "or the disk was full or too slow when it was judged"
            )
    return f"the image of this logId is not kept: {why}"


def _judged(state: State, log_id: str) -> dict[int, bool]:
    """Which images of the answer were judged, and whether each raised an alarm."""
    since, log = datetime.now(UTC) - timedelta(days=DAYS), ScoreLog()
    names = {each.registered_name for each in state.products if each.registered_name}
    found = {
        each.image: each.is_anomalous
        for name in names
        for each in log.of_answer(name, log_id, since)
    }
    found |= {each.id: each.is_anomalous for each in state.recent.of_answer(log_id)}
    return {_position(identifier): is_alarm for identifier, is_alarm in found.items()}


def _memory(state: State) -> str:
    """How far back the server knows its answers."""
    if state.settings.keep_scores and all(each.registered_name for each in state.products):
        return f" in the last {DAYS} days"
    return f" among the last {MOST_VERDICTS} images of each product since it was started"


def _position(identifier: str) -> int:
    """Of the image in its request, from 0."""
    number = identifier.partition(".")[2]
    return int(number) if number else 0
