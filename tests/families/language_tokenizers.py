"""Tokenizers of language models for the tests: real fast-tokenizer classes over vocabularies trained here in a moment.

Several pipelines drop a fixed number of template tokens from what the encoder returns. The vocabularies therefore know
every word of those templates whole, as the real ones do, so that the number dropped is the template's length here too.
"""

import functools
import itertools
import json
import sys
import types
from typing import Any
from unittest import mock

import transformers
from tiny_pipelines import CORPUS
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

TEMPLATES = [
    "Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the"
    " objects and background: ",
    "Describe the image by detailing the color, quantity, text, shape, size, texture, spatial relationships of the"
    " objects and background: ",
    "You are a prompt engineer. Describe the image",
    "As an image captioning expert, generate a descriptive text prompt based on an image content, suitable for input"
    " to a text-to-image model.",
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment based"
    " on textual prompts or user prompts. <Prompt Start> ",
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object"
    " relationships, object attribution and actions without speculation.",
    "Generate an image according to the following instructions\n",
    "system\nuser\nassistant\nsystem user assistant think",
]
# As in the Qwen tokenizers: contractions, words with the character before them, single digits, signs, white space.
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT = (
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}" + _TEXT + "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
MISTRAL_CHAT = (
    "{{ '<s>' }}{% for m in messages %}{% if m['role'] == 'system' %}{{ '[SYSTEM_PROMPT]' }}" + _TEXT + ""
    "{{ '[/SYSTEM_PROMPT]' }}{% else %}{{ '[INST]' }}" + _TEXT + "{{ '[/INST]' }}{% endif %}{% endfor %}"
)
_QWEN_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


@functools.cache
def _bytes_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level BPE that merges every word of the templates whole; words of the prompts stay in pieces."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_QWEN_WORDS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(TEMPLATES, trainer)
    return _parts(trained)


@functools.cache
def _pieces_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """BPE over letters with `▁` for the space, as SentencePiece writes it."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=sorted({*"".join(CORPUS)}), show_progress=False)
    trained.train_from_iterator([*TEMPLATES, *CORPUS], trainer)
    return _parts(trained)


def _parts(trained: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def _behind(special: list[str], vocabulary: dict[str, int]) -> dict[str, int]:
    """The vocabulary with the special tokens in front of it."""
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    return {token: index for index, token in enumerate(dict.fromkeys(itertools.chain(special, ordered)))}


def _bytes_in_hexadecimal() -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)]


def qwen(window: int = 1100) -> Any:
    vocabulary, merges = _bytes_bpe()
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=_behind(_QWEN_SPECIAL, vocabulary),
        merges=list(merges),
        extra_special_tokens=_QWEN_SPECIAL[1:],
        model_max_length=window,
    )
    tokenizer.chat_template = CHATML
    return tokenizer


class _TextProcessor(transformers.Qwen3VLProcessor):
    """Qwen3-VL's processor without the part for videos, which cannot be constructed without torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids([self.image_token, self.video_token])
        transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def qwen_vl_processor(window: int = 1100) -> Any:
    """Tokenizer and picture reader in one, as the pipelines around Qwen3-VL want it."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return _TextProcessor(image_processor=Qwen2VLImageProcessorPil(), tokenizer=qwen(window), chat_template=CHATML)


def gemma(window: int = 400) -> Any:
    vocabulary, merges = _pieces_bpe()
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = transformers.GemmaTokenizer(
        vocab=_behind([*special, *_bytes_in_hexadecimal()], vocabulary), merges=list(merges), model_max_length=window
    )
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", begin)]
    )
    return tokenizer


def llama_pieces(window: int = 400) -> Any:
    """The tokenizer of Llama 2 and Phi-3 (OmniGen)."""
    vocabulary, merges = _pieces_bpe()
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = transformers.LlamaTokenizer(
        vocab=_behind([*special, *_bytes_in_hexadecimal()], vocabulary),
        merges=list(merges),
        model_max_length=window,
        pad_token="<unk>",
        extra_special_tokens=["<|user|>", "<|assistant|>", "<|end|>", "<|diffusion|>"],
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    return tokenizer


def _byte_level(special: list[str], begin: str = "", **options: Any) -> Any:
    """A tokenizer without a class of its own, as those of Llama 3, GLM-4 and Mistral's Tekken are."""
    vocabulary, merges = _bytes_bpe()
    backend = Tokenizer(models.BPE(vocab=_behind(special, vocabulary), merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_QWEN_WORDS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    if begin:
        numbers = [(token, special.index(token)) for token in begin.split()]
        backend.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=numbers)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, extra_special_tokens=[token for token in special if token], **options
    )


def llama3(window: int = 128) -> Any:
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    return _byte_level(
        special,
        begin="<|begin_of_text|>",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|eot_id|>",
        model_max_length=window,
    )


def glm(window: int = 1024) -> Any:
    return _byte_level(
        ["<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>"],
        begin="[gMASK] <sop>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=window,
    )


def glm_image_processor(window: int = 512) -> Any:
    """What turns a prompt and the size of an image into the input of GLM-Image's autoregressive model."""
    from transformers.models.glm_image.image_processing_pil_glm_image import GlmImageImageProcessorPil

    names = dict(image_token="<|image|>", grid_bos_token="<sop>", grid_eos_token="<eop>")
    tokenizer = _byte_level(
        ["<|endoftext|>", "<|dit_token_16384|>", "<|user|>", "<|assistant|>", *names.values()],
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        bos_token="<|dit_token_16384|>",
        padding_side="left",
        model_max_length=window,
    )
    for name, token in names.items():
        setattr(tokenizer, name, token)
    template = "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}" + _TEXT + "{% endfor %}"
    return transformers.GlmImageProcessor(
        image_processor=GlmImageImageProcessorPil(), tokenizer=tokenizer, chat_template=template
    )


def mistral(window: int = 512, side: str = "left") -> Any:
    tokenizer = _byte_level(
        ["<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"],
        begin="<s>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side=side,
        model_max_length=window,
    )
    tokenizer.chat_template = MISTRAL_CHAT
    return tokenizer


def smollm(window: int = 512) -> Any:
    return _byte_level(
        ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"],
        begin="<|begin_of_text|>",
        bos_token="<|begin_of_text|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        padding_side="left",
        model_max_length=window,
    )


def bert(window: int = 77) -> Any:
    """WordPiece: the words of the corpus up to six letters whole, the others in pieces."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for line in CORPUS for word in line.replace(",", "").split()})
    letters = sorted({letter for line in CORPUS for letter in line if not letter.isspace()} | {*".:;'\"-!?()"})
    whole = [word for word in words if len(word) <= 6]
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *whole]
    return transformers.BertTokenizer(
        vocab={token: index for index, token in enumerate(dict.fromkeys(vocabulary))}, model_max_length=window
    )


def xlm_roberta(window: int = 77) -> Any:
    letters = sorted({letter for line in CORPUS for letter in line if not letter.isspace()})
    words = sorted({word for line in CORPUS for word in line.replace(",", "").split() if len(word) <= 6})
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = dict.fromkeys(["▁", *letters, *(f"▁{word}" for word in words)])
    vocabulary = [*((token, 0.0) for token in special), *((piece, -float(len(piece))) for piece in pieces)]
    return transformers.XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=window)


def t5(window: int = 128) -> Any:
    """Unigram pieces that are fixed here: the number of tokens, which some pipelines do not pad, is in the table."""
    letters = sorted({letter for line in CORPUS for letter in line if not letter.isspace()})
    words = sorted({word for line in CORPUS for word in line.replace(",", "").split() if len(word) <= 6})
    pieces = dict.fromkeys(["▁", *letters, *(f"▁{word}" for word in words)])
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -float(len(piece))) for piece in pieces)]
    return transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=window)


def byt5(window: int = 128) -> Any:
    return transformers.ByT5Tokenizer(model_max_length=window)


class _Pieces:
    """What is asked of `sentencepiece.SentencePieceProcessor` by ChatGLM's tokenizer and by promptattn, without that
    package: the pieces of `t5`, in which a space is that of the piece behind it."""

    def __init__(self, model_file: str = "") -> None:
        self._model = t5().backend_tokenizer

    def _made(self, text: str) -> Any:
        return self._model.encode(text, add_special_tokens=False)

    def encode(self, text: str, out_type: Any = int) -> Any:
        made = self._made(text)
        if out_type == "offset_mapping":
            return {"ids": made.ids, "pieces": made.tokens, "offsets": made.offsets}
        return made.ids if out_type is int else made.tokens

    def EncodeAsPieces(self, text: str) -> list[str]:
        return self._made(text).tokens

    def PieceToId(self, piece: str) -> int:
        return self._model.token_to_id(piece) or self.unk_id()

    def IdToPiece(self, number: int) -> str:
        return self._model.id_to_token(number)

    def DecodePieces(self, pieces: list[str]) -> str:
        return "".join(pieces).replace("▁", " ").removeprefix(" ")

    def decode(self, numbers: list[int]) -> str:
        return self.DecodePieces([self.IdToPiece(number) for number in numbers])

    def vocab_size(self) -> int:
        return self._model.get_vocab_size()

    get_piece_size = vocab_size

    def bos_id(self) -> int:
        return 0

    def eos_id(self) -> int:
        return 1

    def unk_id(self) -> int:
        return 2


def chatglm(window: int = 256) -> Any:
    """The tokenizer of Kolors, as diffusers has it, round pieces of ours."""
    from diffusers.pipelines.kolors import tokenizer

    package = types.SimpleNamespace(SentencePieceProcessor=_Pieces)
    with (
        mock.patch.dict(sys.modules, sentencepiece=package),
        mock.patch.object(tokenizer, "is_sentencepiece_available", return_value=True),
    ):
        return tokenizer.ChatGLMTokenizer(vocab_file=__file__, model_max_length=window)
