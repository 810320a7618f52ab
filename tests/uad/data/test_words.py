import pytest

from uad.data.words import mask_stems, meaning

GOOD = """
good|OK|normal|good_parts|not bad|defect_free|no-defects|Gutteile|i.O.|fehlerfrei|ohne Fehler|
bonnes|conforme|sans défaut|buenos|sin defectos|boas|aprovado|buoni|conformi|dobre|prawidłowe|
dobré|v pořádku|iyi|sağlam|годные|норма|良品|合格|正常|无缺陷|異常なし|
양품|정상|goede|bra|hyvät|
megfelelő
"""
DEFECT = """
bad|NG|nok|KO|rejects|anomaly|not_good|Not OK|no good|non-conforming|def_front|scratches|n.i.O.|
Fehlerbilder|Ausschuss|Kratzer|défauts|non conforme|rayures|malos|defectuosos|grietas|defeitos|
riscos|difetti|scarti|graffi|złe|wadliwe|rysy|vadné|zmetky|praskliny|kötü|hatal\u0131|çatlak|брак|
негодные|царапины|不良品|不合格|缺陷|异常|划痕|異常|キズ|불량|비정상|결함|스크래치|fouten|vialliset|hibás
"""
MASK = """
mask|masks|ground_truth|GroundTruth|gt|labels|annotations|pcb_masks|Masken|masques|máscaras|
maschere|maski|masky|маски|掩码|标注|マスク|마스크
"""
PLACES = "2024-05-01|17|cam 2|Camera_left|Line 3|Schicht A|monday|lot-12|test station 3|gutter"


def names(text: str) -> list[str]:
    return [name for name in text.replace("\n", "").split("|") if name]


@pytest.mark.parametrize("name", names(GOOD))
def test_good_is_understood(name: str) -> None:
    assert meaning(name).good
    assert not meaning(name).defect


@pytest.mark.parametrize("name", names(DEFECT))
def test_defective_is_understood(name: str) -> None:
    assert meaning(name).defect
    assert not meaning(name).good


@pytest.mark.parametrize("name", names(MASK))
def test_masks_are_understood(name: str) -> None:
    assert meaning(name).mask


@pytest.mark.parametrize("name", names(PLACES))
def test_places_and_times_say_no_class(name: str) -> None:
    said = meaning(name)
    assert not said.says_class
    assert not said.mask
    assert said.split is None


@pytest.mark.parametrize("name", ["positive", "Negative", "class_3", "ok and ng", "rework", "pos"])
def test_what_may_be_either_is_not_clear(name: str) -> None:
    said = meaning(name)
    assert said.unclear
    assert not (said.good or said.defect or said.mask)


def test_identifiers_are_no_words() -> None:
    for name in ("0bad5f00-ba1d-bad1-9def-0123456789ab", "3def9ng7", "bad5f00d", "9" * 16 + "bad"):
        assert not meaning(name).says_class
    assert meaning("NG12").defect


def test_a_mask_is_named_after_its_picture() -> None:
    assert mask_stems("000_mask") == ["000_mask", "000"]
    assert mask_stems("Part0_label") == ["Part0_label", "Part0"]
    assert mask_stems("gt-12") == ["gt-12", "12"]
    assert mask_stems("12_ground_truth") == ["12_ground_truth", "12"]
    assert mask_stems("front") == ["front"]
