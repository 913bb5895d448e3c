#!/usr/bin/env bash
# Adds samples/ to a throw-away memory and asks the questions of scripts/samples/questions.tsv (question, tab, the file
# that answers it). Touches neither the keychain nor a memory of yours; the built model stays in .demo/cache.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .demo
folder="$(mktemp -d .demo/memory.XXXXXX)"
trap 'rm -rf "$folder"' EXIT
export POMNIT_KEY=file POMNIT_KEY_DIR="$PWD/$folder/key" POMNIT_CACHE="$PWD/.demo/cache"

pomnit() { .venv/bin/pomnit --home "$folder/home" "$@" </dev/null; }

printf '$ pomnit add samples\n'
pomnit add samples
while IFS=$'\t' read -r question _; do
    printf '\n$ pomnit search "%s" --limit 2\n' "$question"
    pomnit search "$question" --limit 2
done <scripts/samples/questions.tsv
for question in "во сколько приём у стоматолога?" "when does my train to Berlin leave?"; do
    printf '\n$ pomnit ask "%s" --limit 2\n' "$question"
    pomnit ask "$question" --limit 2
done
printf '\nThat memory is gone again. Yours: .venv/bin/pomnit add ~/Pictures, then .venv/bin/pomnit search "..."\n'
