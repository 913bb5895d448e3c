#!/usr/bin/env bash
# Draws the pictures of samples/ from scripts/samples/*.html with headless Chromium, which must be installed. Each page's
# first line says the picture's file name, the size of the window and the scale of the screen.
set -euo pipefail
cd "$(dirname "$0")/.."

browser="${CHROMIUM:-}"
for name in chromium chromium-browser google-chrome; do
    [ -n "$browser" ] || browser="$(command -v "$name" || true)"
done
[ -n "$browser" ] || { echo "samples: Chromium is needed; name it in CHROMIUM=…" >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
for page in scripts/samples/*.html; do
    IFS='|' read -r file size scale < <(sed -n '1s/^<!-- file: \(.*\) | size: \(.*\) | scale: \(.*\) -->$/\1|\2|\3/p' "$page")
    "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$work/profile" \
        --force-device-scale-factor="$scale" --window-size="${size/x/,}" --screenshot="$work/shot.png" "file://$PWD/$page" \
        >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    # A palette keeps flat pages crisp at a third of the size; a JPEG and a WebP are there to be read, too.
    .venv/bin/python - "$work/shot.png" "samples/$file" <<'PYTHON'
import sys

from PIL import Image

shot, target = sys.argv[1:]
image = Image.open(shot).convert("RGB")
if target.endswith(".jpg"):
    image.save(target, quality=88)
elif target.endswith(".webp"):
    image.save(target, quality=88, method=6)
else:
    image.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(target, optimize=True)
PYTHON
    echo "samples/$file"
done
