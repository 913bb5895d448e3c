"""Makes models/KIND/: tiny random checkpoints of every architecture and head, and what transformers gives for them.

``python tests/golden/make_models.py`` needs torch and transformers, which the tests themselves do not. Each folder
looks like a published one: config.json, tokenizer.json and weights as transformers writes them, BGE-M3's as a
PyTorch file with its head beside it. expected.json holds what the model gives in fp32, where the script made sure that
padding a batch on the left or on the right changes nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as kinds_of_tokenizer

FOLDER = Path(__file__).with_name("models")
WINDOW, OVERLAP = 64, 16  # tokens, as encoders read long texts
PAIR_WINDOW, TEMPLATE_WINDOW = 64, 192
HIDDEN, INNER, HEADS, LAYERS = 32, 64, 4, 2
SEEDS = {"bert-pair": 3, "xlmr-pair": 6, "qwen3-last": 4}  # others give all texts nearly the same score or vector
STRENGTH, OUTLIER = 1.2, 6.0  # of a product; of a channel
SAME = 1e-5  # by how much a batch may differ from a single text: float32 adds in another order

LONG = " ".join(f"On day {day} we saw {day * 7 % 31} boats; лодок на озере было {day * 5 % 23}." for day in range(1, 9))
TEXTS = [
    "",
    "budget",
    "The meeting about the budget was moved to Thursday at 10:30.",
    "What did we decide about the new office in Berlin?",
    "Встречу о бюджете перенесли на четверг, на 10:30.",
    "Что мы решили про новый офис в Берлине?",
    "Скинь, пожалуйста, invoice за март до Friday, номер INV-2026/0042.",
    "Naïve café — “quoted” … 东京 🚀",
    "word " * 20,
    LONG,
]
QUERIES = TEXTS[3:6:2]
LEARNT = [*TEXTS[1:7], LONG, "Boats sail on a blue lake. Лодки плывут по синему озеру.", "query: passage: yes no"] * 4

QUERY_INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    "<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


# --- tokenizers ------------------------------------------------------------------------------------------------------


def word_pieces() -> Tokenizer:
    """Gives one as BERT has; with the padding and the cut that published files declare and an engine must not keep."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    pieces: set[str] = set()
    for text in LEARNT:  # the library's own trainer makes another vocabulary each time
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            ends = {word[:3], "##" + word[3:]} if len(word) > 4 else {word}
            pieces |= {*word, *(f"##{letter}" for letter in word), *ends}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *sorted(pieces)])}
    tokenizer = Tokenizer(kinds_of_tokenizer.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(24)
    tokenizer.enable_padding(length=24, pad_id=0, pad_token="[PAD]")
    return tokenizer


def sentence_pieces() -> Tokenizer:
    """Gives one as XLM-RoBERTa has."""
    tokenizer = Tokenizer(kinds_of_tokenizer.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    learning = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(LEARNT, learning)
    found = json.loads(tokenizer.to_str())["model"]["vocab"]
    found = sorted(((piece, round(score, 3)) for piece, score in found[4:]), key=lambda at: (-at[1], at[0]))
    tokenizer.model = kinds_of_tokenizer.Unigram([*((word, 0.0) for word in special), *found], 3, False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    return tokenizer


def byte_pairs(*, ends: bool) -> Tokenizer:
    """Gives one as Qwen3 has; ``ends`` puts <|endoftext|> behind each text, as that of the encoder does."""
    tokenizer = Tokenizer(kinds_of_tokenizer.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    learning = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*LEARNT, *["yes", "no"] * 50, *[TEMPLATE, QUERY_INSTRUCTION] * 3], learning)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in special])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in ("<think>", "</think>")])
    end = tokenizer.token_to_id("<|endoftext|>")
    if ends:
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="$A <|endoftext|>", pair="$A $B:1 <|endoftext|>:1", special_tokens=[("<|endoftext|>", end)]
                ),
            ]
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.enable_padding(direction="left", pad_id=end, pad_token="<|endoftext|>")
    return tokenizer


# --- weights ---------------------------------------------------------------------------------------------------------


def bert_config(tokenizer: Tokenizer, **more: Any) -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=WINDOW,
        **more,
    )


def xlmr_config(tokenizer: Tokenizer, **more: Any) -> transformers.XLMRobertaConfig:
    return transformers.XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=WINDOW + 2,  # places count from the number of <pad> + 1
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **more,
    )


def qwen3_config(tokenizer: Tokenizer, **more: Any) -> transformers.Qwen3Config:
    return transformers.Qwen3Config(
        vocab_size=tokenizer.get_vocab_size() + 4,  # published tables are longer than the vocabulary
        hidden_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,  # not hidden / heads
        intermediate_size=96,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        **more,
    )


def fill(model: Any, seed: int) -> Any:
    """Gives the model with random weights, large enough that a wrong one shows, and a channel as large as trained ones
    have."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=draw)
            if "norm" in name.lower():
                weight.copy_((0.2 * noise + 1) if name.endswith("weight") else 0.2 * noise)
            elif "embed" in name or weight.ndim == 1:
                weight.copy_(0.15 * noise)
            elif len(weight) == 1:  # a logit: scores must differ from text to text
                weight.copy_(noise)
            else:
                weight.copy_(noise * STRENGTH / weight.shape[1] ** 0.5)
            if name.endswith(("layer.0.output.LayerNorm.weight", "layers.0.post_attention_layernorm.weight")):
                weight[3] = OUTLIER
    return model.eval()


def save_tensors(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def save_with_places(model: Any, folder: Path) -> None:
    """As bge-small-en-v1.5 is published: with a table of whole numbers that nobody needs."""
    from safetensors.torch import save_file

    save_tensors(model, folder)
    counted = {"embeddings.position_ids": torch.arange(WINDOW)[None]}
    save_file(model.state_dict() | counted, folder / "model.safetensors", {"format": "pt"})


def save_pickled(model: Any, folder: Path) -> None:
    """As BGE-M3 is published."""
    save_tensors(model, folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def save_halved(model: Any, folder: Path) -> None:
    """In bfloat16, as Qwen3 is published; ``model`` then holds what was written."""
    for weight in model.parameters():  # not model.bfloat16(): that would round the speeds of rotary places too
        weight.data = weight.data.bfloat16()
    save_tensors(model, folder)
    model.float()


def save_older(model: Any, folder: Path) -> None:
    """The same, with a config.json of the older transformers that Qwen3 was published with."""
    save_halved(model, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    config["torch_dtype"] = config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


# --- what transformers gives -----------------------------------------------------------------------------------------


def padded(rows: Sequence[Sequence[int]], side: str, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gives the rows as one batch, and where in it they stand."""
    longest = max(map(len, rows))
    batch, mask = torch.full((len(rows), longest), pad), torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        at = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        batch[i, at], mask[i, at] = torch.tensor(row), 1
    return batch, mask


def run(model: Any, batch: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> Any:
    more: dict[str, Any] = {}
    if model.config.model_type != "xlm-roberta":  # that one counts its places itself, past the padding
        more["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    if types is not None:
        more["token_type_ids"] = types
    with torch.no_grad():
        return model(input_ids=batch, attention_mask=mask, **more)


def same(run_batch: Callable[[str, Sequence[int]], torch.Tensor], count: int) -> torch.Tensor:
    """Gives what each row gives alone, after making sure that it gives the same in a batch padded on either side."""
    alone = torch.cat([run_batch("right", [i]) for i in range(count)])
    for side in ("left", "right"):
        assert (run_batch(side, range(count)) - alone).abs().max() < SAME, side
    return alone


@dataclass(frozen=True)
class Encoder:
    pooling: str
    query_prefix: str = ""
    passage_prefix: str = ""
    sparse: bool = False

    def expected(self, model: Any, tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
        """Gives the vectors, of all the model's dimensions, and what each token tells."""
        head = self.make_head(model, folder) if self.sparse else None
        asked = [(text, False) for text in TEXTS] + [(text, True) for text in QUERIES]
        texts = []
        for text, query in asked:
            windows = split(tokenizer, (self.query_prefix if query else self.passage_prefix) + text)
            states = same(lambda side, some, w=windows: self.pool(model, [w[i] for i in some], side), len(windows))
            vector = sum(state * len(window) for state, window in zip(states, windows, strict=True))
            vector = vector / vector.norm()
            entry = {
                "text": text,
                "query": query,
                "windows": len(windows),
                "vector": [round(float(n), 7) for n in vector],
            }
            if head is not None:
                entry["terms"] = terms(model, head, windows)
            texts.append(entry)
        every = [split(tokenizer, text)[0] for text in TEXTS]
        same(lambda side, some: self.pool(model, [every[i] for i in some], side), len(every))
        return {"texts": texts}

    def pool(self, model: Any, rows: Sequence[Sequence[int]], side: str) -> torch.Tensor:
        batch, mask = padded(rows, side, model.config.pad_token_id or 0)
        states = run(model, batch, mask).last_hidden_state
        if self.pooling == "mean":
            return (states * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        counted = mask.cumsum(1) * mask
        chosen = counted.argmax(1) if self.pooling == "last" else (counted == 1).int().argmax(1)
        return states[torch.arange(len(rows)), chosen]

    def make_head(self, model: Any, folder: Path) -> torch.nn.Linear:
        head = torch.nn.Linear(model.config.hidden_size, 1)
        draw = torch.Generator().manual_seed(99)
        with torch.no_grad():
            head.weight.copy_((0.1 * torch.randn(1, model.config.hidden_size, generator=draw)).half())
            head.bias.fill_(0.0625)
        torch.save({"weight": head.weight.half(), "bias": head.bias.half()}, folder / "sparse_linear.pt")
        return head


def split(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """Gives the tokens of each window, between those that stand before and after every text."""
    inner = tokenizer.encode(text, add_special_tokens=False).ids
    whole = tokenizer.encode(text).ids
    ends = len(whole) - len(inner)
    before, after = (whole[:1], whole[-1:]) if ends == 2 else ([], whole[-1:])
    room = WINDOW - ends
    starts = [0]
    while starts[-1] + room < len(inner):
        starts.append(starts[-1] + room - OVERLAP)
    return [[*before, *inner[start : start + room], *after] for start in starts]


def terms(model: Any, head: torch.nn.Linear, windows: Sequence[Sequence[int]]) -> dict[str, float]:
    """Gives the weights of tokens as FlagEmbedding does for BGE-M3: the greatest of each, without special tokens."""
    found: dict[str, float] = {}
    for window in windows:
        states = run(model, *padded([window], "right", 1)).last_hidden_state[0]
        with torch.no_grad():
            weights = torch.relu(head(states))[:, 0]
        for token, weight in zip(window, weights.tolist(), strict=True):
            if weight > 0 and token not in (0, 1, 2, 3):  # <s> <pad> </s> <unk>
                found[str(token)] = max(found.get(str(token), 0.0), round(weight, 7))
    return found


@dataclass(frozen=True)
class Reranker:
    head: str
    template: str = ""

    def expected(self, model: Any, tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
        """Gives the score of each text for two questions."""
        found = []
        for query in QUERIES:
            read = [self.read(tokenizer, query, text) for text in TEXTS]
            score = self.yes_no if self.head == "yes-no" else self.classify
            scores = same(lambda side, some, r=read: score(model, tokenizer, [r[i] for i in some], side), len(read))  # noqa: B023
            found.append({"query": query, "scores": [round(float(n), 7) for n in scores]})
        return {"texts": TEXTS, "queries": found}

    def read(self, tokenizer: Tokenizer, query: str, text: str) -> tuple[list[int], list[int]]:
        """Gives the tokens of a pair and their types; a text that is too long is cut at its end."""
        if self.head == "classifier":
            tokenizer.enable_truncation(PAIR_WINDOW, strategy="only_second")
            pair = tokenizer.encode(query, text)
            return pair.ids, pair.type_ids
        before, after = self.template.replace("{query}", query).split("{document}")
        start, end = (tokenizer.encode(part, add_special_tokens=False).ids for part in (before + text, after))
        ids = [*start[: TEMPLATE_WINDOW - len(end)], *end]
        return ids, [0] * len(ids)

    def classify(self, model: Any, _: Tokenizer, read: Sequence[Any], side: str) -> torch.Tensor:
        side = "right"  # the head reads the first place of the batch: with padding there transformers is wrong itself
        batch, mask = padded([ids for ids, _ in read], side, model.config.pad_token_id or 0)
        types, _ = padded([types for _, types in read], side, 0)
        return torch.sigmoid(run(model, batch, mask, types).logits[:, 0])

    def yes_no(self, model: Any, tokenizer: Tokenizer, read: Sequence[Any], side: str) -> torch.Tensor:
        batch, mask = padded([ids for ids, _ in read], side, 0)
        logits = run(model, batch, mask).logits
        last = (mask.cumsum(1) * mask).argmax(1)
        pair = logits[torch.arange(len(read)), last][:, [tokenizer.token_to_id("no"), tokenizer.token_to_id("yes")]]
        return torch.softmax(pair, dim=1)[:, 1]


# --- all of them -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Writes the folders beside this script."""
    pieces, sentences, ending, open_ended = (
        word_pieces(),
        sentence_pieces(),
        byte_pairs(ends=True),
        byte_pairs(ends=False),
    )
    one = {"num_labels": 1}
    t = transformers
    make("bert-mean", t.BertModel(bert_config(pieces), False), pieces, save_tensors, Encoder("mean"))
    make("bert-cls", t.BertModel(bert_config(pieces), False), pieces, save_with_places, Encoder("cls"))
    mean = Encoder("mean", "query: ", "passage: ")
    make("xlmr-mean", t.XLMRobertaModel(xlmr_config(sentences), False), sentences, save_tensors, mean)
    sparse = Encoder("cls", sparse=True)
    make("xlmr-cls-sparse", t.XLMRobertaModel(xlmr_config(sentences), False), sentences, save_pickled, sparse)
    last = Encoder("last", QUERY_INSTRUCTION)
    make("qwen3-last", t.Qwen3Model(qwen3_config(ending)), ending, save_older, last)
    pair = Reranker("classifier")
    make("bert-pair", t.BertForSequenceClassification(bert_config(pieces, **one)), pieces, save_tensors, pair)
    xlmr_pair = t.XLMRobertaForSequenceClassification(xlmr_config(sentences, **one))
    make("xlmr-pair", xlmr_pair, sentences, save_tensors, pair)
    asked = Reranker("yes-no", TEMPLATE)
    make("qwen3-yesno", t.Qwen3ForCausalLM(qwen3_config(open_ended)), open_ended, save_halved, asked)


def make(
    kind: str, model: Any, tokenizer: Tokenizer, save: Callable[[Any, Path], None], use: Encoder | Reranker
) -> None:
    folder = FOLDER / kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save(fill(model, SEEDS.get(kind, 0)), folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    for path in folder.iterdir():
        path.chmod(0o644)
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.no_padding()
    bare.no_truncation()
    text = json.dumps(use.expected(model, bare, folder), ensure_ascii=False)
    (folder / "expected.json").write_text(text.replace('}, {"text', '},\n{"text') + "\n", "utf-8")


if __name__ == "__main__":
    main()
