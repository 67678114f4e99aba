#!/usr/bin/env python3
"""Writes tiny-embedder.gguf: a random, untrained embedding model (bert, which reads a text in both directions; its vector is that of the first token).

Needs nothing but Python. The same file comes out every time:  ./tiny-embedder.py OUT.gguf
"""
import random
import struct
import sys

E, HEADS, FF, BLOCKS, CONTEXT = 32, 2, 64, 2, 64
F32, F16 = 0, 1
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"
# What begins a word has a line before it.
VOCABULARY = MARKS + ["\u2581" + letter for letter in LETTERS] + list(LETTERS)
rng = random.Random(7)
tensors, keys = [], []


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, raw):
    keys.append(text(name) + struct.pack("<I", kind) + raw)


def number(name, value):
    key(name, 4, struct.pack("<I", value))


def word(name, value):
    key(name, 8, text(value))


def tensor(name, shape, kind, values):
    tensors.append((name, shape, kind, struct.pack(f"<{len(values)}{'fe'[kind]}", *values)))


def matrix(name, columns, rows, kind=F16):
    tensor(name + ".weight", [columns, rows], kind, [rng.gauss(0.0, 1.5 * columns**-0.5) for _ in range(columns * rows)])


def linear(name, columns, rows):
    matrix(name, columns, rows)
    tensor(name + ".bias", [rows], F32, [rng.gauss(0.0, 0.1) for _ in range(rows)])


def norm(name):
    tensor(name + ".weight", [E], F32, [1.0] * E)
    tensor(name + ".bias", [E], F32, [0.0] * E)


word("general.architecture", "bert")
word("general.name", "tiny embedder")
number("general.file_type", 1)
number("bert.context_length", CONTEXT)
number("bert.embedding_length", E)
number("bert.feed_forward_length", FF)
number("bert.block_count", BLOCKS)
number("bert.attention.head_count", HEADS)
key("bert.attention.layer_norm_epsilon", 6, struct.pack("<f", 1e-12))
key("bert.attention.causal", 7, b"\0")
number("bert.pooling_type", 2)
word("tokenizer.ggml.model", "bert")
word("tokenizer.ggml.pre", "default")
key("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, len(VOCABULARY)) + b"".join(map(text, VOCABULARY)))
kinds = [3] * len(MARKS) + [1] * (len(VOCABULARY) - len(MARKS))
key("tokenizer.ggml.token_type", 9, struct.pack(f"<IQ{len(kinds)}i", 5, len(kinds), *kinds))
number("tokenizer.ggml.token_type_count", 2)
for name, token in [("padding", 0), ("unknown", 1), ("bos", 2), ("seperator", 3), ("mask", 4)]:
    number(f"tokenizer.ggml.{name}_token_id", token)

matrix("token_embd", E, len(VOCABULARY))
matrix("token_types", E, 2, F32)
matrix("position_embd", E, CONTEXT, F32)
norm("token_embd_norm")
for block in range(BLOCKS):
    at = f"blk.{block}."
    for part in ["attn_q", "attn_k", "attn_v", "attn_output"]:
        linear(at + part, E, E)
    norm(at + "attn_output_norm")
    linear(at + "ffn_up", E, FF)
    linear(at + "ffn_down", FF, E)
    norm(at + "layer_output_norm")

ALIGN = 32
infos, data = b"", b""
for name, shape, kind, raw in tensors:
    data += b"\0" * (-len(data) % ALIGN)
    infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data))
    data += raw
head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)) + b"".join(keys) + infos
with open(sys.argv[1], "wb") as out:
    out.write(head + b"\0" * (-len(head) % ALIGN) + data)
