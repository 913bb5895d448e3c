"""Makes photo.heic, which Pomnit's own libraries can only read: ``uv run --with pillow-heif python make_heic.py``."""

import sys
from pathlib import Path
from urllib.parse import quote

import pillow_heif
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

exif = Image.Exif()
exif[0x010E] = quote("маяк at the harbour")  # what support.pictures reads
exif.get_ifd(0x8769)[0x9003] = "2026:11:03 09:41:07"
exif.get_ifd(0x8769)[0x9011] = "+03:00"
pillow_heif.register_heif_opener()
Image.new("RGB", (64, 48), "navy").save(Path(__file__).with_name("photo.heic"), quality=50, exif=exif)
