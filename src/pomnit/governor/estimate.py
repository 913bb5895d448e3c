"""About how much memory a model takes, where nobody measured it."""

from __future__ import annotations

from pomnit.models.cards import TextCard, Variant, VisionCard

# What a weight of the layers takes in memory, in bits. Affine groups of MLX have a scale and an offset of 16 bits for
# each 64 weights. ONNX Runtime packs its own copy: measured with MiniLM, BGE-M3 and Qwen3-Embedding-0.6B.
_HELD: dict[str, dict[int, float]] = {
    "mlx": {4: 4.5, 6: 6.5, 8: 8.5, 16: 16, 32: 32},
    "onnx": {4: 7.5, 8: 10, 16: 40, 32: 48},
}
_WORKING = 18_000_000  # buffers of a run, and the runtime's own
_MLX_VLM = 60_000_000  # the library and what it imports
# Of the tokenizers, measured: a Unigram of 250,000 pieces, byte pairs of 152,000, WordPiece of 30,522.
_UNIGRAM, _BYTE_PAIRS, _WORD_PIECES = 275_000_000, 96_000_000, 9_000_000


def resident(variant: Variant) -> int:
    """Gives about how many bytes a model takes above its program.

    Its table of words stays on disk, and is read row by row; its tokenizer does not.
    """
    card = variant.card
    assert isinstance(card, TextCard)
    held = _HELD["mlx" if variant.runtime == "mlx" else "onnx"].get(variant.bits, variant.bits)
    return round((card.parameters - card.table_parameters) * held / 8) + _tokenizer(card) + _WORKING


def looking(card: VisionCard, tokens: int, pixels: int) -> int:
    """Gives about how many bytes a model that answers takes above its program, for so much in one answer."""
    working = tokens * card.token_bytes + pixels * card.pixel_bytes
    return card.weight_bytes + working + _BYTE_PAIRS + _MLX_VLM


def _tokenizer(card: TextCard) -> int:
    if card.architecture == "qwen3":
        return _BYTE_PAIRS
    return _UNIGRAM if "other" in card.languages else _WORD_PIECES
