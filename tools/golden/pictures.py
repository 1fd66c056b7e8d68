"""Makes tests/golden/pictures.safetensors: small files written by Pillow and what Pillow decodes them to.
usage: pictures.py OUT   (needs pillow and numpy; the tests themselves need no Python)"""
import io, json, struct, sys
import numpy as np
import PIL
from PIL import Image

H, W = 21, 27
rng = np.random.default_rng(7)
y, x = np.mgrid[0:H, 0:W]
smooth = [127 + 120 * np.sin(0.31 * x * (c + 1) / 2 + 0.17 * y + c) * np.cos(0.23 * y) for c in range(4)]
rgba = np.clip(np.stack(smooth, -1) + rng.normal(0, 12, (H, W, 4)), 0, 255).astype(np.uint8)
rgb = Image.fromarray(rgba[..., :3])
grey = Image.fromarray(rgba[..., 0])
palette = rgb.quantize(13)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


exif = Image.Exif()
exif[0x112] = 6  # orientation: on its side
files = {
    "444.jpg": saved(rgb, "JPEG", quality=90, subsampling="4:4:4"),
    "422.jpg": saved(rgb, "JPEG", quality=85, subsampling="4:2:2"),
    "420.jpg": saved(rgb, "JPEG", quality=80, subsampling="4:2:0"),
    "progressive.jpg": saved(rgb, "JPEG", quality=75, progressive=True),
    "grey.jpg": saved(grey, "JPEG", quality=80),
    "cmyk.jpg": saved(Image.fromarray(rgba, "CMYK"), "JPEG", quality=80),
    "rotated.jpg": saved(rgb, "JPEG", quality=80, exif=exif),
    "rgb.png": saved(rgb, "PNG"),
    "rgba.png": saved(Image.fromarray(rgba), "PNG"),
    "grey.png": saved(grey, "PNG"),
    "grey_alpha.png": saved(Image.fromarray(rgba[..., :2], "LA"), "PNG"),
    "black_white.png": saved(grey.convert("1"), "PNG"),
    "palette.png": saved(palette, "PNG"),
    "palette_2bit.png": saved(rgb.quantize(4), "PNG", bits=2),
    "palette_alpha.png": saved(palette, "PNG", transparency=bytes(range(0, 130, 10))),
    "grey_key.png": saved(grey, "PNG", transparency=int(rgba[3, 4, 0])),
    "text.png": saved(rgb, "PNG", icc_profile=b"not a profile", dpi=(300, 300)),
}
tensors = {}
for name, data in files.items():
    image = Image.open(io.BytesIO(data))
    tensors["file." + name] = np.frombuffer(data, np.uint8)
    tensors["rgb." + name] = np.asarray(image.convert("RGB"))
    # As torchvision reads a folder and then turns grey: by way of RGB.
    tensors["grey." + name] = np.asarray(image.convert("RGB").convert("L"))[..., None]
    if name.endswith(".png") and ("A" in image.mode or "transparency" in image.info):
        tensors["rgba." + name] = np.asarray(image.convert("RGBA"))

made_by = f"Pillow {PIL.__version__}, tools/golden/pictures.py"
header, body = {"__metadata__": {"made_by": made_by}}, b""
for name, t in tensors.items():
    header[name] = {"dtype": "U8", "shape": list(t.shape), "data_offsets": [len(body), len(body) + t.size]}
    body += t.tobytes()
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + body)
print(made_by, len(files), "files,", len(body), "bytes")
