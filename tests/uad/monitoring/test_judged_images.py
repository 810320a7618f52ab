from pathlib import Path

import pytest

from tests.uad.monitoring.judged import keep, picture, word
from uad.errors import DataError
from uad.monitoring.judged_images import HEATMAP, PREVIEW, JudgedImages


@pytest.fixture
def store(tmp_path: Path) -> JudgedImages:
    return JudgedImages(tmp_path)


def test_an_image_is_kept_with_its_verdict_preview_and_heat_map(store: JudgedImages) -> None:
    kept = keep(store, "a", alarm=True, seed=3)
    assert store.get("a") == kept
    assert store.content(kept) == picture(3)
    assert store.file(kept, PREVIEW).read_bytes() == b"preview"
    assert store.file(kept, HEATMAP).read_bytes() == b"heatmap"


def test_the_newest_images_of_a_product_come_first(store: JudgedImages) -> None:
    for minute, name in enumerate("abc"):
        keep(store, name, alarm=False, minute=minute)
    keep(store, "z", alarm=False, minute=9, product="nut")
    found = store.newest("cookie", 2)
    assert [image.id for image in found] == ["c", "b"]
    assert [image.id for image in store.newest("cookie", 2, before=found[-1].at)] == ["a"]


def test_a_full_disk_budget_costs_the_oldest_first_and_marked_ones_last(
    store: JudgedImages,
) -> None:
    for minute, name in enumerate("abcd"):
        size = keep(store, name, alarm=True, minute=minute).bytes
    oldest = store.get("a")
    assert oldest is not None
    store.say(oldest, word("good"))
    assert store.prune(2 * size) == ["b", "c"]
    assert [image.id for image in store.newest("cookie", 9)] == ["d", "a"]
    assert len(list(store.root.rglob("*.png"))) == 2 * 2  # files and heat maps
    assert store.prune(0) == ["d", "a"]


def test_what_was_removed_to_make_room_is_still_known(store: JudgedImages) -> None:
    size = keep(store, "a", alarm=True).bytes
    keep(store, "b", alarm=True, minute=1, limit_bytes=size)
    assert store.removed("a") == ["a"]
    assert store.removed("b") == []


def test_keeping_one_more_stays_within_the_limit(store: JudgedImages) -> None:
    size = keep(store, "a", alarm=True).bytes
    keep(store, "b", alarm=True, minute=1, limit_bytes=size)
    assert [image.id for image in store.newest("cookie", 9)] == ["b"]


def test_words_are_kept_with_who_and_when_and_none_replaces_another(store: JudgedImages) -> None:
    kept = keep(store, "a", alarm=True)
    store.say(kept, word("good", "anna", 1, note="a reflection"))
    store.say(kept, word("defective", "", 2))
    [marked] = store.marked("cookie")
    assert [(each.said, each.author) for each in marked.words] == [
        ("good", "anna (127.0.0.1)"),
        ("defective", "127.0.0.1"),
    ]
    assert marked.words[0].note == "a reflection"


def test_a_kept_file_that_was_altered_is_not_used(store: JudgedImages) -> None:
    kept = keep(store, "a", alarm=True)
    store.file(kept).write_bytes(b"other")
    with pytest.raises(DataError, match="was altered"):
        store.content(kept)


def test_no_name_of_a_product_leads_out_of_the_folder(store: JudgedImages) -> None:
    for product in ("..", "../x", "a/b", "."):
        kept = keep(store, product.replace("/", "_"), alarm=True, product=product)
        assert store.root.resolve() in store.file(kept).resolve().parents
        assert store.file(kept).parent.parent.parent == store.root


def test_a_damaged_list_of_kept_images_is_named_with_the_cure(tmp_path: Path) -> None:
    JudgedImages(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(b"junk" * 1000)
    with pytest.raises(DataError, match=r"index.sqlite, .* is damaged .* Put a backup"):
        JudgedImages(tmp_path)
