import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from uad.errors import DataError, ImageError
from uad.images import decode, frames, header, read, read_mask, resize

LOSSLESS = {"PNG": "x.png", "BMP": "x.bmp", "TIFF": "x.tiff", "WEBP": "x.webp"}


def colours(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """A BGR image that no flip or rotation maps to itself."""
    y, x = np.mgrid[0:height, 0:width]
    blue, green, red = 6 * x, 10 * y, (x * y) % 251
    return np.stack([blue, green, red], -1).astype(np.uint8)


def encoded(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pillow(image: NDArray[np.uint8]) -> PIL.Image.Image:
    return PIL.Image.fromarray(image[..., ::-1])


def photo(height: int = 160, width: int = 200) -> PIL.Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 3))


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_come_back_as_bgr_pixel_for_pixel(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    image = decode(encoded(pillow(colours()), form, **options))
    assert image.dtype == np.uint8
    assert np.array_equal(image, colours())


def test_a_jpeg_has_the_pixels_that_opencv_gives() -> None:
    data = encoded(photo(), "JPEG", quality=90)
    assert np.array_equal(decode(data), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(ImageError, match=r"cam\.png is empty"):
        decode(b"", name="cam.png")


def test_content_decides_not_the_suffix_and_names_may_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "Prüfung 7 (neu).JPG"
    path.write_bytes(encoded(pillow(colours()), "PNG"))
    assert np.array_equal(read(path), colours())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form: str, orientation: int) -> None:
    upright = np.zeros((48, 32, 3), np.uint8)
    upright[:24, :16] = (0, 0, 255)
    upright[24:, :16] = (255, 0, 0)
    # What the sensor stored, so that the orientation turns it upright (EXIF 2.3, table 4.6.4 A).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(pillow(np.ascontiguousarray(stored)), form, exif=exif)
    seen = decode(data)
    assert seen.shape == upright.shape == (*header(data).size, 3)
    for y, x in ((10, 7), (38, 7), (10, 24), (38, 24)):
        assert np.abs(seen[y, x].astype(int) - upright[y, x]).max() < 12


def test_damaged_exif_leaves_the_image_as_it_is() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\x00\x00" + b"nonsense" * 9)
    assert decode(data).shape == (160, 200, 3)


def test_grey_becomes_three_equal_channels() -> None:
    grey = colours()[..., 0]
    image = decode(encoded(PIL.Image.fromarray(grey), "PNG"))
    assert np.array_equal(image, np.repeat(grey[..., None], 3, -1))


def test_16_bit_grey_keeps_the_high_byte_and_is_not_stretched() -> None:
    deep = np.linspace(0, 30000, 24 * 40).reshape(24, 40).astype(np.uint16)
    for form in ("PNG", "TIFF"):
        image = decode(encoded(PIL.Image.fromarray(deep), form))
        assert np.array_equal(image[..., 1], (deep >> 8).astype(np.uint8))


def test_16_bit_colour_keeps_the_high_byte() -> None:
    deep = colours().astype(np.uint16) * 256 + 200
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert header(data).bits == 16
    assert np.array_equal(decode(data), colours())


def test_transparency_is_composited_over_white() -> None:
    image = np.zeros((8, 8, 4), np.uint8)
    image[..., 0] = 200
    image[:, 2:4, 3] = 128
    image[:, 4:, 3] = 255
    seen = decode(encoded(PIL.Image.fromarray(image, "RGBA"), "PNG"))
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert seen[0, 7].tolist() == [0, 0, 200]
    assert seen[0, 2].tolist() == pytest.approx([127, 127, 227], abs=1)


def test_grey_with_alpha_and_transparent_palettes_are_composited_too() -> None:
    grey = PIL.Image.merge("LA", [PIL.Image.new("L", (8, 8), 90), PIL.Image.new("L", (8, 8), 0)])
    assert (decode(encoded(grey, "PNG")) == 255).all()
    palette = PIL.Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(encoded(palette, "PNG"))[0, 0].tolist() == [30, 20, 10]
    assert (decode(encoded(palette, "PNG", transparency=1)) == 255).all()


def test_one_bit_and_cmyk_become_colour() -> None:
    bits = PIL.Image.fromarray(colours()[..., 0] > 100)
    assert set(np.unique(decode(encoded(bits, "PNG")))) == {0, 255}
    cmyk = decode(encoded(pillow(colours()).convert("CMYK"), "JPEG", quality=98))
    assert np.abs(cmyk.astype(int) - colours()).mean() < 8


def test_the_first_of_several_frames_is_used() -> None:
    pages = [PIL.Image.new("L", (8, 8), value) for value in (40, 200)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert (decode(data) == 40).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_file_cut_anywhere_is_refused_or_whole(form: str) -> None:
    data = encoded(photo(), form)
    whole = decode(data)
    refused = 0
    for cut in range(0, len(data), max(1, len(data) // 60)):
        try:
            assert np.array_equal(decode(data[:cut], name="part.img"), whole)
        except ImageError as error:
            refused += 1
            assert "part.img" in str(error)
    assert refused >= 58


def test_a_progressive_jpeg_cut_between_two_scans_is_refused() -> None:
    data = encoded(photo(), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(data[: data.rfind(b"\xff\xda")])


def test_a_jpeg_whose_tail_was_never_written_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (160, 200, 3), np.uint8)
    data = encoded(PIL.Image.fromarray(noise), "JPEG", quality=95)
    with pytest.raises(ImageError, match="no end-of-image marker"):
        decode(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def test_a_jpeg_with_a_thumbnail_is_judged_by_its_own_end() -> None:
    thumbnail = encoded(photo(32, 32), "JPEG")
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00" + thumbnail
    data = encoded(photo(), "JPEG", exif=exif)
    assert decode(data).shape == (160, 200, 3)
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(data[:-1500] + bytes(1500))


@pytest.mark.parametrize(
    "data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)]
)
def test_what_is_no_image_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"odd\.png"):
        decode(data, name="odd.png")


def test_32_bit_images_are_refused_with_the_cure() -> None:
    data = encoded(PIL.Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    with pytest.raises(ImageError, match="export it as 8 or 16 bit"):
        decode(data)


def test_the_size_is_judged_by_the_header_before_decoding() -> None:
    data = encoded(PIL.Image.new("1", (3000, 2000)), "PNG")
    assert header(data[:200]).size == (2000, 3000)
    with pytest.raises(ImageError, match="3000x2000"):
        decode(data[:200], max_pixels=1_000_000)
    bomb = encoded(PIL.Image.new("1", (20000, 15000)), "PNG")
    with pytest.raises(ImageError, match="pixels"):
        header(bomb)


def test_a_missing_file_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read"):
        read(tmp_path / "gone.png")


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"pipe\.png is a named pipe"):
        read(tmp_path / "pipe.png")


def test_the_header_tells_format_size_and_depth() -> None:
    seen = header(encoded(photo(), "JPEG"))
    assert (seen.format, seen.size, seen.bits) == ("jpeg", (160, 200), 8)


def mask_file(folder: Path, values: NDArray[np.generic] | PIL.Image.Image, form: str) -> Path:
    picture = values if isinstance(values, PIL.Image.Image) else PIL.Image.fromarray(values)
    path = folder / f"mask.{form.lower()}"
    path.write_bytes(encoded(picture, form))
    return path


def tiff(values: NDArray[np.generic], photometric: int = 1) -> bytes:
    """A TIFF file of one channel as it is."""
    data, (height, width) = values.tobytes(), values.shape
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = values.itemsize * 8
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 134),
            (277, 1), (278, height), (279, len(data)), (339, sample_format)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def spot(value: int, kind: type[np.generic] = np.uint8) -> NDArray[np.generic]:
    mask = np.zeros((40, 60), kind)
    mask[10:20, 30:40] = value
    return mask


@pytest.mark.parametrize("value", [255, 128, 100, 1])
def test_masks_mark_by_255_or_by_small_numbers(tmp_path: Path, value: int) -> None:
    mask = read_mask(mask_file(tmp_path, spot(value), "PNG"), (40, 60))
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, spot(1) == 1)


def test_soft_edges_of_a_mask_do_not_grow_the_defect(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(np.asarray(spot(255)), (0, 0), 1.0)
    mask = read_mask(mask_file(tmp_path, soft, "PNG"), (40, 60))
    assert mask.sum() == pytest.approx(100, abs=8)


def test_palette_colour_one_bit_and_16_bit_masks_mark_the_same(tmp_path: Path) -> None:
    palette = PIL.Image.fromarray(np.asarray(spot(2)))
    palette.putpalette([0, 0, 0, 255, 0, 0, 9, 9, 9])
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = spot(255)
    one_bit = PIL.Image.fromarray(np.asarray(spot(1)) == 1)
    for values in (palette, PIL.Image.fromarray(red), one_bit, spot(65535, np.uint16)):
        mask = read_mask(mask_file(tmp_path, values, "PNG"), (40, 60))
        assert np.array_equal(mask, spot(1) == 1)


def test_a_palette_mask_counts_by_its_colours_whatever_their_order(tmp_path: Path) -> None:
    mask = PIL.Image.fromarray(np.asarray(1 - spot(1)))
    mask.putpalette([255, 255, 255, 0, 0, 0])  # entry 0 is white and marks the defect
    assert np.array_equal(read_mask(mask_file(tmp_path, mask, "PNG"), (40, 60)), spot(1) == 1)


def test_in_a_coloured_mask_all_but_the_background_is_defective(tmp_path: Path) -> None:
    both = np.zeros((40, 60, 3), np.uint8)
    both[10:20, 30:35], both[10:20, 35:40] = (255, 255, 255), (128, 0, 0)
    assert np.array_equal(read_mask(mask_file(tmp_path, both, "PNG"), (40, 60)), spot(1) == 1)
    red_on_white = np.where(spot(1)[..., None] > 0, [255, 0, 0], [255, 255, 255]).astype(np.uint8)
    found = read_mask(mask_file(tmp_path, red_on_white, "PNG"), (40, 60))
    assert np.array_equal(found, spot(1) == 1)


def test_a_transparent_part_of_a_mask_marks_nothing(tmp_path: Path) -> None:
    white = np.full((40, 60, 4), 255, np.uint8)
    white[..., 3] = spot(255)
    assert np.array_equal(read_mask(mask_file(tmp_path, white, "PNG"), (40, 60)), spot(1) == 1)


@pytest.mark.parametrize("palette", [False, True])
def test_255_beside_label_numbers_is_ignored(tmp_path: Path, palette: bool) -> None:
    labels = np.asarray(spot(1)).copy()
    labels[30:, :] = 255
    mask = PIL.Image.fromarray(labels)
    if palette:  # the colours of Pascal VOC
        mask.putpalette([0, 0, 0, 128, 0, 0, *[0] * 252 * 3, 224, 224, 192, 224, 224, 192])
    assert np.array_equal(read_mask(mask_file(tmp_path, mask, "PNG"), (40, 60)), spot(1) == 1)


def test_a_floating_point_mask_marks_from_half_on(tmp_path: Path) -> None:
    values = np.asarray(spot(1), np.float32) * 0.9
    found = read_mask(mask_file(tmp_path, PIL.Image.fromarray(values), "TIFF"), (40, 60))
    assert np.array_equal(found, spot(1) == 1)


def test_a_16_bit_tiff_that_counts_from_white_is_not_inverted() -> None:
    values = np.arange(8 * 8, dtype=np.uint16).reshape(8, 8) * 1000
    found = decode(tiff(65535 - values, photometric=0))
    assert np.array_equal(found[..., 0], (values >> 8).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "told"),
    [("f2", "16-bit floating-point"), ("f4", "32-bit floating-point"),
     ("f8", "64-bit floating-point"), ("u4", "32-bit"), ("u8", "64-bit")],
)  # fmt: skip
def test_numbers_without_a_scale_are_refused_with_the_cure_and_not_called_damaged(
    kind: str, told: str
) -> None:
    values = np.ones((8, 8), kind)
    with pytest.raises(ImageError, match=f"x.tif holds {told} values.*export it as 8 or 16 bit"):
        decode(tiff(values), name="x.tif")


def test_pgm_files_of_8_and_more_bits_are_read_by_their_full_range() -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    assert np.array_equal(decode(b"P5 8 6 255\n" + grey.tobytes())[..., 0], grey)
    deep = grey.astype(">u2") * 257
    assert np.array_equal(decode(b"P5 8 6 65535\n" + deep.tobytes())[..., 0], grey)
    twelve = (grey.astype(int) * 4095 // 255).astype(">u2")
    found = decode(b"P5 8 6 4095\n" + twelve.tobytes())[..., 0]
    assert np.abs(found.astype(int) - grey).max() <= 1


@pytest.mark.parametrize("form", ["GIF", "JPEG2000", "AVIF", "PPM"])
def test_other_formats_are_read_and_refused_when_cut(form: str) -> None:
    picture = PIL.Image.fromarray(colours()[:, :, ::-1])
    data = encoded(picture, form)
    assert decode(data).shape == colours().shape
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2])


def test_a_jpeg_mask_has_no_halo(tmp_path: Path) -> None:
    mask = read_mask(mask_file(tmp_path, spot(255), "JPEG"), (40, 60))
    assert np.array_equal(mask, spot(1) == 1)


def test_a_mask_of_another_size_is_an_error_and_never_resized(tmp_path: Path) -> None:
    path = mask_file(tmp_path, spot(255), "PNG")
    with pytest.raises(DataError, match=r"mask\.png is 40x60 but its image is 60x40"):
        read_mask(path, (60, 40))


def test_resize_takes_height_first_and_leaves_a_fitting_image_alone() -> None:
    image = colours()
    assert resize(image, (12, 80)).shape == (12, 80, 3)
    assert resize(image, (24, 40)) is image


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_second_page_does_not_count_and_costs_nothing() -> None:
    page = PIL.Image.new("RGB", (20, 20), (1, 2, 3))
    stream = io.BytesIO()
    page.save(stream, "TIFF", save_all=True, append_images=[page])
    whole = stream.getvalue()
    (first,) = struct.unpack("<I", whole[4:8])
    (tags,) = struct.unpack("<H", whole[first : first + 2])
    following = first + 2 + 12 * tags
    torn = whole[:following] + struct.pack("<I", len(whole) + 999) + whole[following + 4 :]
    assert (frames(whole), frames(torn)) == (2, 1)
    assert decode(torn).shape == (20, 20, 3)
