"""The meaning of folder and file names, in about twenty languages.

A name is cut into words (`NG_parts-2` gives `ng parts`), without accents and letter case. Chinese,
Japanese and Korean have no spaces, so their words are looked for anywhere in the name.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

SplitName = Literal["train", "test", "validation", "unlabelled"]


@dataclass(frozen=True)
class Meaning:
    """What one name says; a name may say several things, such as `test_good`."""

    split: SplitName | None = None
    good: bool = False
    defect: bool = False
    mask: bool = False
    """Masks: pictures that mark where a defect is."""
    derived: bool = False
    """Pictures that a program made of others: overlays, heat maps."""
    unclear: bool = False
    """A class, but which (`positive`, `class 1`), or several at once (`ok and ng`)."""
    structural: bool = False
    """Every word is known: a split, a class, a mask or a word like `images`."""
    aside: bool = False
    """Pictures that nobody has sorted (`unknown`, `to check`), or that are kept (`backup`)."""
    place: bool = False
    """Where or when pictures were taken: a number, a date, a camera, a shift."""

    @property
    def says_class(self) -> bool:
        """Whether the name says, or seems to say, which class its pictures are."""
        return self.good or self.defect or self.unclear


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRAIN = _words(
    "train training trainset traindata trainingset learn learning entrainement entrenamiento "
    "treino treinamento addestramento egitim trenovaci uczenie обучение тренировка"
)
_TEST = _words(
    "test testing testset testdata tests eval evaluation prueba pruebas teste testes тест "
    "тестирование"
)
_VALIDATION = _words(
    "val valid validation valset validationset dev validierung validacion validacao validazione "
    "валидация"
)
_UNLABELLED = _words("unlabeled unlabelled unlabel private hidden")
_SPLIT_PARTS: dict[str, SplitName] = {
    "训练": "train", "訓練": "train", "学習": "train", "학습": "train", "훈련": "train",
    "测试": "test", "測試": "test", "テスト": "test", "테스트": "test",
    "验证": "validation", "驗證": "validation", "検証": "validation", "검증": "validation",
}  # fmt: skip

_GOOD = _words(
    # English
    "good golden goods ok okay oks normal normals pass passed accept accepted acceptable intact "
    "flawless perfect undamaged healthy conform conforming conformity defectfree faultfree "
    "faultless nodefect nodefects nondefect nondefective nonanomalous nonanomaly nofault unbroken "
    # German, Dutch, Swedish, Danish, Norwegian, Finnish
    "gut gute guter gutes gutteil gutteile gutbild gutbilder fehlerfrei fehlerfreie einwandfrei "
    "mangelfrei intakt bestanden ordnung goed goede goedgekeurd godkand godkendt godkjent hyva "
    "hyvat "
    # French
    "bon bonne bons bonnes conforme conformes correct corrects correcte sain sains normale "
    "normales normaux "
    # Spanish, Portuguese
    "bueno buenos buena buenas correcto correctos correcta correctas aprobado aprobados apto "
    "aptos bom bons boa boas correto corretos aprovado aprovados perfeito normais "
    # Italian, Romanian
    "buono buoni buona buone conformi corretto corretti normali idoneo integro integri "
    # Polish, Czech, Slovak, Hungarian
    "dobry dobra dobre dobrze poprawny poprawne prawidlowy prawidlowe normalny normalne zgodny "
    "zgodne spravny spravne bezvadny bezvadne poradku normalni shodny megfelelo "
    # Turkish, Vietnamese, Indonesian
    "iyi saglam uygun kusursuz hatasiz dogru tot baik bagus "
    # Russian, Ukrainian
    "годный годные годен годно хороший хорошие хорошо норма нормальный нормальные исправный "
    "исправные добре придатний придатні"
)
_DEFECT = _words(
    # English
    "bad ng nok ko nogood notgood notok reject rejects rejected fail fails failed failure "
    "failures fault faults faulty defect defects defective defectives defected def anomaly "
    "anomalies anomalous anomalie abnormal abnormals abnormality abnormalities flaw flaws flawed "
    "damage damaged damages broken error errors scrap nonconforming nonconformity noncompliant "
    "unacceptable imperfect outlier outliers "
    # German, Dutch, Swedish, Danish, Norwegian, Finnish
    "schlecht schlechte schlechter schlechtes schlechtteil schlechtteile fehler fehlerhaft "
    "fehlerhafte fehlerbild fehlerbilder fehlerteil fehlerteile defekt defekte ausschuss mangel "
    "mangelhaft mangelhafte maengel schaden beschadigt beschadigte anomalien slecht slechte "
    "afgekeurd fout fouten afwijking defekta kasserad darlig dalig fejl feil kasseret huono "
    "viallinen vialliset hylatty "
    # French
    "mauvais mauvaise mauvaises defaut defauts defectueux defectueuse defectueuses rebut rebuts "
    "rejet rejets rejete rejetes anormal anormale anormaux nonconforme nonconformes casse "
    # Spanish, Portuguese
    "malo malos mala malas defecto defectos defectuoso defectuosos defectuosa defectuosas "
    "anomalia anomalias rechazo rechazos rechazado rechazados fallo fallos falla fallas anormales "
    "mau maus ruim ruins defeito defeitos defeituoso defeituosos defeituosa defeituosas rejeitado "
    "rejeitados refugo falha falhas anormais reprovado reprovados "
    # Italian, Romanian
    "cattivo cattivi cattiva difetto difetti difettoso difettosi difettosa difettose scarto "
    "scarti anomalo anomali guasto guasti danneggiato danneggiati defecte "
    # Polish, Czech, Slovak, Hungarian
    "zly zle zla wada wady wadliwy wadliwe uszkodzony uszkodzone braki defekty niezgodny "
    "niezgodne spatny spatne spatna vada vady vadny vadne vadna zmetek zmetky chyba chyby "
    "poskozeny poskozene rossz hibas hiba selejt "
    # Turkish, Vietnamese, Indonesian
    "kotu hatali hata kusurlu kusur bozuk arizali defolu loi rusak cacat "
    # Russian, Ukrainian
    "брак бракованный бракованные дефект дефекты дефектный дефектные плохой плохие плохо негодный "
    "негодные негоден аномалия аномалии аномальный аномальные поврежденный поврежденные "
    "неисправный неисправные дефектні погані"
)
_KINDS = _words(
    # What defects are called; a folder of that name holds defective parts.
    "scratch scratches scratched crack cracks cracked dent dents dented blowhole blowholes "
    "porosity inclusion inclusions stain stains stained contamination contaminated contaminations "
    "breakage chipped fray frayed burr burrs spall spalling wrinkle wrinkles misalignment "
    "misaligned misplaced missing scuff scuffs scuffed bent crazing pitted rust rusty corrosion "
    "corroded dirty blister blisters deformation deformed discoloration delamination fracture "
    "fractured torn leak leaking burnt spatter kratzer riss risse delle dellen flecken lunker "
    "bruch verschmutzung verschmutzt verbogen krassen kras rayure rayures rayee fissure fissures "
    "tache taches aranazo aranazos grieta grietas mancha manchas abolladura risco riscos trinca "
    "trincas amassado graffio graffi cricca cricche macchia macchie ammaccatura rysa rysy "
    "pekniecie pekniecia plama plamy skrabanec prasklina praskliny skvrna skvrny trhlina cizik "
    "cizikli catlak leke ezik karcolas repedes царапина царапины трещина трещины скол сколы пятно "
    "пятна вмятина вмятины"
)
_ALONE_GOOD = _words("io inordnung io1 god bra jo bien bun")
_ALONE_DEFECT = _words("nio nichtinordnung mal mau fel vika rau brak defects")
"""Too short or too common to count as a part of a longer name."""
_DEFECT_STEMS = (
    "defekt", "fehler", "schlecht", "ausschuss", "anomal", "abnorm", "defect", "difett", "defeit",
    "defaut", "дефект", "бракован", "неисправн", "негодн", "wadliw", "uszkodz",
)  # fmt: skip
_GOOD_STEMS = (
    "gutteil", "gutbild", "gutmuster", "fehlerfrei", "исправн", "хорош", "нормальн",
)  # fmt: skip
# Of Chinese, Japanese and Korean the longer words first: 不良 is bad though 良 is good.
_DEFECT_PARTS = (
    "不良", "不合格", "不適合", "不正常", "非正常", "有缺陷", "异常", "異常", "次品", "坏品",
    "瑕疵", "报废", "損壞", "损坏", "欠陥", "欠点", "불량", "비정상", "이상", "결함", "불합격",
    "하자", "故障", "划痕", "劃痕", "裂纹", "裂紋", "裂痕", "凹陷", "污渍", "脏污", "破损",
    "崩边", "毛刺", "异物", "異物", "キズ", "傷", "割れ", "ひび", "汚れ", "打痕", "欠け", "バリ",
    "스크래치", "균열", "크랙", "찍힘", "얼룩", "이물", "缺陷", "坏", "壞",
)  # fmt: skip
_GOOD_PARTS = (
    "无缺陷", "無缺陷", "无瑕疵", "无异常", "異常なし", "欠陥なし", "결함없음", "이상없음",
    "良品", "合格", "正常", "完好", "양품", "정상", "합격", "양호", "適合", "好品", "良",
)  # fmt: skip
_MASK_PARTS = ("掩码", "掩膜", "蒙版", "遮罩", "标注", "標註", "标签", "マスク", "마스크", "真值")

_MASK = _words(
    "mask masks gt gts groundtruth groundtruths truth label labels labelmap labelmaps annotation "
    "annotations anno annos seg segs segm segmentation segmentations masken maske masque masques "
    "mascara mascaras maschera maschere maska maski masky maskeler maskar masker maszk маска "
    "маски разметка"
)
_DERIVED = _words(
    "overlay overlays heatmap heatmaps visualization visualizations visualisation visualisations "
    "prediction predictions"
)
_UNCLEAR = _words(
    "positive positives negative negatives positiv negativ positif negatif positivo negativo "
    "class classes klasse klassen classe clase klasa sinif category categories kategorie cluster "
    "clusters suspect suspects suspicious unsure doubtful borderline grenzfall rework nacharbeit "
    "uncertain ambiguous класс"
)
_ALONE_UNCLEAR = _words("pos neg true false yes no ja nein mixed")
_ASIDE = _words(
    "unknown unsorted uncategorized check todo review misc other others backup old archive temp "
    "tmp inbox new unbekannt sonstige alt neu pruefen prufen inconnu autres desconocido otros"
)
_NOT = _words("no not non nicht kein keine ohne un sin sans sem senza bez nie ne neg not без не")
_FREE = _words("free frei frie libre")
_NEUTRAL = _words(
    "image images img imgs picture pictures pic pics photo photos foto fotos bild bilder imagenes "
    "imagens immagini jpegimages jpeg jpg png bmp rgb color colour data dataset dir folder set "
    "sets sample samples public mixed all raw original originals and the of in"
)
_PLACES = _words(
    "cam cams camera cameras kamera camara line lines linie ligne linea linia hat line shift "
    "shifts schicht schichten turno vardiya station stations stanice posto lot lots batch batches "
    "charge los tray trays nest cavity side seite left right front back rear top bottom upper "
    "lower inner outer oben unten links rechts vorne hinten day days night morning evening early "
    "late fruh fruhschicht spat spatschicht nacht nachtschicht monday tuesday wednesday thursday "
    "friday saturday sunday mon tue wed thu fri sat sun montag dienstag mittwoch donnerstag "
    "freitag samstag sonntag lundi mardi mercredi jeudi vendredi samedi dimanche lunes martes "
    "miercoles jueves viernes sabado domingo january february march april may june july august "
    "september october november december jan feb mar apr jun jul aug sep oct nov dec januar "
    "februar marz mai juni juli oktober dezember week weeks woche kw month monat year jahr run "
    "runs session series serie capture captures frame frames view views angle angles pose "
    "position positions pos machine maschine machines cell robot plant site hall halle werk "
    "operator light lights lighting exposure zone tool mold mould form channel lane track shot "
    "shots rotation sensor смена линия камера партия zmiana zmena part parts teil teile piece "
    "pieces product products object objects"
)
_PLACE_PARTS = ("年", "月", "日", "班", "相机", "相機", "线", "カメラ", "카메라", "라인", "批次")
_SURE_MASK = _words("mask masks masken masques maschere mascaras gt groundtruth groundtruths")
"""At the end of a name these always mean a mask: `pcb_masks`. `front_label` does not."""
_ENDINGS = _words("mask masks label labels gt seg anno annotation groundtruth truth segmentation")
_WORD = re.compile(r"\d*([^\W\d_]+)\d*")
_IDENTIFIER = re.compile(r"[0-9a-fA-F]{4,}(-[0-9a-fA-F]{2,}){2,}|[0-9a-fA-F]{16,}")
"""A UUID or a hash."""
_LETTERS = str.maketrans("\u0131\u0142\u00f8", "ilo")
"""Letters that are no accented ones to Unicode: dotless i, l and o with a stroke."""
_SPLIT_WORDS = _TRAIN | _TEST | _VALIDATION | _UNLABELLED


@lru_cache(maxsize=65536)
def meaning(name: str) -> Meaning:
    """What the name of a folder, or of a file without its suffix, says."""
    words = words_of(name)
    whole = "".join(words)
    good, defect = _classes(words, whole)
    good, defect, rest = _with_parts(name, good, defect)
    split = _split(words) or next((s for part, s in _SPLIT_PARTS.items() if part in name), None)
    mask = _has(words, _MASK) or "groundtruth" in whole or any(p in name for p in _MASK_PARTS)
    derived = _has(words, _DERIVED) or whole in ("anomalymap", "anomalymaps")
    unclear = _has(words, _UNCLEAR) or whole in _ALONE_UNCLEAR or (good and defect)
    known = _GOOD | _DEFECT | _MASK | _NEUTRAL | _SPLIT_WORDS | _NOT | _FREE | {"ground"}
    structural = bool(words) and all(word in known for word in words_of(rest))
    if split is not None and not structural:
        split = None  # `test station 3` is a place
    return Meaning(
        split=split,
        good=good and not defect and not unclear,
        defect=defect and not good and not unclear,
        mask=mask and (structural or _surely_mask(words, whole) or _is_part(name)),
        derived=derived,
        unclear=unclear and not mask,
        structural=structural,
        aside=_has(words, _ASIDE),
        place=_is_place(words) or any(part in name for part in _PLACE_PARTS),
    )


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, lower case, without accents and numbers (`NG12` gives `ng`).

    What mixes letters and digits, such as `bad5f00d`, is an identifier and no word.
    """
    if _IDENTIFIER.fullmatch(name):
        return ()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)  # camelCase
    plain = unicodedata.normalize("NFKD", spaced.casefold().translate(_LETTERS))
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    found = (_WORD.fullmatch(piece) for piece in re.split(r"[\W_]+", letters))
    return tuple(match[1] for match in found if match)


def folded(name: str) -> str:
    """The name as names are compared: case does not count, nor how accents are written.

    macOS writes a letter with an accent as two characters, other systems as one.
    """
    return unicodedata.normalize("NFC", name).lower()


def mask_stems(stem: str) -> list[str]:
    """The name of the picture that a mask of this name may belong to: itself, then without `_mask`.

    `000_mask` gives `000_mask` and `000`; `Part0_label` gives `Part0`.
    """
    found = [stem]
    match = re.fullmatch(r"(.+?)[\s._-]+\(?([A-Za-z]+)\)?", stem)
    if match and match[2].lower() in _ENDINGS:
        shorter = re.sub(r"(?i)[\s._-]+ground$", "", match[1])
        found.append(shorter)
    match = re.fullmatch(r"([A-Za-z]+)[\s._-]+(.+)", stem)
    if match and match[1].lower() in _ENDINGS:
        found.append(match[2])
    return found


def class_words(name: str) -> frozenset[str]:
    """The words of a name that say a class."""
    spoken = [word for word in (*words_of(name), *_found_parts(name)) if meaning(word).says_class]
    return frozenset(spoken)


def _found_parts(name: str) -> list[str]:
    return [part for part in (*_GOOD_PARTS, *_DEFECT_PARTS) if part in name]


def _has(words: Iterable[str], vocabulary: frozenset[str]) -> bool:
    return any(word in vocabulary for word in words)


def _surely_mask(words: tuple[str, ...], whole: str) -> bool:
    return "groundtruth" in whole or bool(words and words[-1] in _SURE_MASK)


def _is_part(name: str) -> bool:
    return any(part in name for part in _MASK_PARTS)


def _split(words: tuple[str, ...]) -> SplitName | None:
    if _has(words, _UNLABELLED):
        return "unlabelled"
    if _has(words, _VALIDATION):
        return "validation"
    if _has(words, _TEST):
        return "test"
    return "train" if _has(words, _TRAIN) else None


def _classes(words: tuple[str, ...], whole: str) -> tuple[bool, bool]:
    """Whether the words say good, and whether they say defective; `not` and `free` turn a word."""
    good, defect = whole in _ALONE_GOOD, whole in _ALONE_DEFECT
    for index, word in enumerate(words):
        says_good, says_defect = _class_of(word)
        before = index > 0 and words[index - 1] in _NOT
        after = index + 1 < len(words) and words[index + 1] in _FREE
        if before or (after and says_defect):
            says_good, says_defect = says_defect, says_good
        good, defect = good or says_good, defect or says_defect
    return good, defect


def _class_of(word: str) -> tuple[bool, bool]:
    if word in _GOOD or word.startswith(_GOOD_STEMS):
        return True, False
    return False, word in _DEFECT or word in _KINDS or word.startswith(_DEFECT_STEMS)


def _is_place(words: tuple[str, ...]) -> bool:
    """Numbers, and words for places and times; a letter may come with them (`shift A`)."""
    known = [word for word in words if word in _PLACES | _NEUTRAL]
    letters = [word for word in words if len(word) == 1]
    return not words or (bool(known) and len(set(known + letters)) == len(set(words)))


def _with_parts(name: str, good: bool, defect: bool) -> tuple[bool, bool, str]:
    """Chinese, Japanese and Korean words are taken out when found, so that none counts twice."""
    rest = name
    for part in (*_GOOD_PARTS[:8], *_DEFECT_PARTS, *_GOOD_PARTS[8:]):
        if part in rest:
            good, defect = good or part in _GOOD_PARTS, defect or part in _DEFECT_PARTS
            rest = rest.replace(part, " ")
    for part in (*_MASK_PARTS, *_SPLIT_PARTS):
        rest = rest.replace(part, " ")
    return good, defect, rest
