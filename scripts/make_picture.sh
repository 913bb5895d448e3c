#!/usr/bin/env bash
# Draws docs/search.png: two searches in the samples, as a terminal shows them. Needs Chromium and script(1).
set -euo pipefail
cd "$(dirname "$0")/.."

browser="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export POMNIT_KEY=file POMNIT_KEY_DIR="$work/key" POMNIT_CACHE="$PWD/.demo/cache" POMNIT_HOME="$work/home" COLUMNS=120
ln -s "$PWD/samples" "$work/Screenshots"
.venv/bin/pomnit add "$work/Screenshots" >/dev/null
for question in "когда у меня стоматолог" "price of my train tickets to Berlin"; do
    printf '\033[36m$\033[0m pomnit search "%s" -n 2\r\n' "$question"
    script -qec ".venv/bin/pomnit search '$question' -n 2" /dev/null
    printf '\r\n'
done >"$work/out"
.venv/bin/python - "$work/out" "$work/page.html" "$PWD/" <<'PYTHON'
import html
import re
import sys

source, page, root = sys.argv[1:]
text = html.escape(open(source, encoding="utf-8").read().replace("\r", "").replace(root, "~/"), quote=False)
styles = {"1": "b", "2": "d", "32": "g", "33": "y", "36": "c", "30": "m", "43": "m", "0": ""}


def span(found: re.Match[str]) -> str:
    style = styles.get(found.group(1).split(";")[0], "")
    return f'<span class="{style}">' if style else "</span>" * 2


text = re.sub(r"\x1b\[([0-9;]*)m", span, text)
open(page, "w", encoding="utf-8").write(
    "<meta charset=utf-8><style>body{margin:0;background:#1c2230}pre{font:15px/1.45 'DejaVu Sans Mono',monospace;color:#d8dee9;"
    "padding:18px 22px;white-space:pre-wrap;width:1150px}.b{font-weight:bold;color:#fff}.d{color:#8a94a8}.g{color:#8fd18f}.y{color:#e6c35c}"
    f".c{{color:#6cc7d9}}.m{{background:#e6c35c;color:#1c2230;border-radius:3px}}</style><pre>{text}</pre>"
)
PYTHON
"$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$work/profile" \
    --window-size=1200,490 --screenshot="$work/shot.png" "file://$work/page.html" >/dev/null 2>&1
.venv/bin/python -c "from PIL import Image; import sys
Image.open(sys.argv[1]).convert('RGB').quantize(64).save('docs/search.png', optimize=True)" "$work/shot.png"
