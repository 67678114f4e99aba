#!/usr/bin/env python3
"""Writes tiny-drafter.gguf: a drafter (gemma4-assistant) for tiny-gemma4-tools.gguf that knows which token mostly follows which.

Needs nothing but Python. The same file comes out every time:  ./tiny-drafter.py TARGET.gguf OUT.gguf
"""
import math
import random
import struct
import sys

E, FF, HEADS = 64, 64, 4  # the drafter's own width: must differ from the target's
SLIDES = [True, False]  # one layer for each kind of memory that the target lends
NOISE = 0.02  # how much layers and hidden states count against the token itself
# What the target likes to say. A token's most frequent successor here is what is guessed.
SAID = [
    "Hello, I am Ezra.",
    "Noted, your colour is teal.",
    "Your colour is teal.",
    "Your dog is Rex.",
    "Noted, your city is Paris.",
]
SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F32, F16 = 0, 1
rng = random.Random(7)


class Target:
    """What is needed of the target's file: its metadata, its tokenizer as bytes, and the rows of its vocabulary."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.raw = file.read()
        self.at, self.values, self.tokenizer = 8, {}, []
        tensors, keys = self.take("Q"), self.take("Q")
        for _ in range(keys):
            start = self.at
            name = self.text()
            self.values[name] = self.value(self.take("I"))
            if name.startswith("tokenizer.") and name != "tokenizer.chat_template":
                self.tokenizer.append(self.raw[start : self.at])
        places = {}
        for _ in range(tensors):
            name = self.text()
            shape = [self.take("Q") for _ in range(self.take("I"))]
            places[name] = (shape, self.take("I"), self.take("Q"))
        (width, count), kind, offset = places["token_embd.weight"]
        start = -(-self.at // 32) * 32 + offset
        assert kind == F16
        flat = struct.unpack_from(f"<{width * count}e", self.raw, start)
        self.rows = [flat[i * width : (i + 1) * width] for i in range(count)]

    def take(self, kind):
        (value,) = struct.unpack_from("<" + kind, self.raw, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        length = self.take("Q")
        self.at += length
        return self.raw[self.at - length : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, count = self.take("I"), self.take("Q")
            return [self.value(kind) for _ in range(count)]
        return self.take(SIZES[kind])

    def of(self, name):
        return self.values["gemma4." + name]

    def tokens_of(self, said):
        """Byte pair encoding, word by word: a space is a token of its own here."""
        ids = {token: i for i, token in enumerate(self.values["tokenizer.ggml.tokens"])}
        ranks = {pair: i for i, pair in enumerate(self.values["tokenizer.ggml.merges"])}
        found = []
        for word in said.replace(" ", " \u2581 ").split(" "):
            parts = list(word)
            while len(parts) > 1:
                pairs = [(ranks.get(f"{a} {b}", len(ranks)), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))]
                rank, i = min(pairs)
                if rank == len(ranks):
                    break
                parts[i : i + 2] = [parts[i] + parts[i + 1]]
            found += [ids[part] for part in parts]
        return found


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


class Drafter:
    def __init__(self):
        self.keys, self.tensors = [], []

    def key(self, name, kind, value):
        self.keys.append(text(name) + struct.pack("<I", kind) + value)

    def number(self, name, value):
        self.key("gemma4-assistant." + name, 4, struct.pack("<I", value))

    def fraction(self, name, value):
        self.key("gemma4-assistant." + name, 6, struct.pack("<f", value))

    def tensor(self, name, shape, values, kind=F16):
        raw = struct.pack(f"<{len(values)}{'fe'[kind]}", *values)
        self.tensors.append((name, shape, kind, raw))

    def matrix(self, name, *shape):
        std = shape[0] ** -0.5
        self.tensor(name, shape, [rng.gauss(0.0, std) for _ in range(shape[0] * shape[1])])

    def flat(self, name, length, value=1.0):
        self.tensor(name, (length,), [value] * length, F32)

    def write(self, path, tokenizer):
        keys = self.keys + tokenizer
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(keys)) + b"".join(keys)
        at = 0
        for name, shape, kind, raw in self.tensors:
            head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
            head += struct.pack("<IQ", kind, at)
            at += -(-len(raw) // 32) * 32
        with open(path, "wb") as out:
            out.write(head + bytes(-len(head) % 32))
            for _, _, _, raw in self.tensors:
                out.write(raw + bytes(-len(raw) % 32))


def dot(one, other):
    return math.fsum(a * b for a, b in zip(one, other))


def unit(row):
    length = math.sqrt(dot(row, row) / len(row))
    return [x / length for x in row]


def successors(target):
    """For each token its most frequent successor, the first one of equals."""
    counts = {}
    for said in SAID:
        tokens = target.tokens_of(said) + [target.values["tokenizer.ggml.eos_token_id"]]
        for one, other in zip(tokens, tokens[1:]):
            after = counts.setdefault(one, {})
            after[other] = after.get(other, 0) + 1
    return {one: max(after, key=lambda other: after[other]) for one, after in counts.items()}


def taught(target, projection, follows):
    """Rows of the output, by a perceptron with a margin: each token's own row in it scores its successor highest."""
    seen = {token: unit([dot(row, target.rows[token]) for row in projection]) for token in follows}
    rows = {token: [0.0] * E for token in set(follows.values())}
    for _ in range(2000):
        wrong = 0
        for token, right in follows.items():
            scores = {other: dot(row, seen[token]) for other, row in rows.items()}
            best = max((other for other in rows if other != right), key=lambda other: scores[other])
            if scores[right] > max(scores[best], 0.0) + 5.0:
                continue
            wrong += 1
            rows[right] = [a + 0.05 * b for a, b in zip(rows[right], seen[token])]
            rows[best] = [a - 0.05 * b for a, b in zip(rows[best], seen[token])]
        if wrong == 0:
            return rows
    sys.exit("what follows what could not be learnt")


def describe(out, target):
    out.key("general.architecture", 8, text("gemma4-assistant"))
    out.key("general.name", 8, text("tiny-drafter"))
    sizes = dict(context_length=4096, embedding_length=E, block_count=len(SLIDES), feed_forward_length=FF)
    for name, value in sizes.items():
        out.number(name, value)
    out.number("embedding_length_out", target.of("embedding_length"))
    out.number("nextn_predict_layers", len(SLIDES))
    out.number("attention.head_count", HEADS)
    # What the target lends has the target's shape.
    for name in "key_length value_length key_length_swa value_length_swa sliding_window shared_kv_layers".split():
        out.number("attention." + name, target.of("attention." + name))
    for name in ("dimension_count", "dimension_count_swa"):
        out.number("rope." + name, target.of("rope." + name))
    for name in ("freq_base", "freq_base_swa"):
        out.fraction("rope." + name, target.of("rope." + name))
    out.fraction("attention.layer_norm_rms_epsilon", 1e-6)
    lent = target.of("attention.head_count_kv")
    heads = [lent[-2] if slides else lent[-1] for slides in SLIDES]
    out.key("gemma4-assistant.attention.head_count_kv", 9, struct.pack(f"<IQ{len(heads)}I", 4, len(heads), *heads))
    out.key("gemma4-assistant.attention.sliding_window_pattern", 9, struct.pack("<IQ2?", 7, 2, *SLIDES))


def layer(out, number, slides, target):
    block, head = f"blk.{number}.", target.of("attention.key_length" + ("_swa" if slides else ""))
    out.flat(block + "attn_norm.weight", E)
    out.flat(block + "post_attention_norm.weight", E, NOISE)
    out.matrix(block + "attn_q.weight", E, head * HEADS)
    out.flat(block + "attn_q_norm.weight", head)
    out.matrix(block + "attn_output.weight", head * HEADS, E)
    out.flat(block + "ffn_norm.weight", E)
    out.flat(block + "post_ffw_norm.weight", E, NOISE)
    out.matrix(block + "ffn_gate.weight", E, FF)
    out.matrix(block + "ffn_up.weight", E, FF)
    out.matrix(block + "ffn_down.weight", FF, E)
    out.flat(block + "layer_output_scale.weight", 1)


def main():
    target, out = Target(sys.argv[1]), Drafter()
    width = target.of("embedding_length")
    projection = [[rng.gauss(0.0, width**-0.5) for _ in range(width)] for _ in range(E)]
    follows = successors(target)
    rows = taught(target, projection, follows)
    describe(out, target)
    nothing = [0.0] * E
    out.tensor("token_embd.weight", (E, len(target.rows)), [x for i in range(len(target.rows)) for x in rows.get(i, nothing)])
    out.flat("output_norm.weight", E)
    turned = target.of("rope.dimension_count") // 8  # a quarter of the pairs is turned
    pairs = target.of("attention.key_length") // 2
    out.tensor("rope_freqs.weight", (pairs,), [1.0] * turned + [1e30] * (pairs - turned), F32)
    both = [row + [rng.gauss(0.0, NOISE * width**-0.5) for _ in range(width)] for row in projection]
    out.tensor("nextn.pre_projection.weight", (2 * width, E), [x for row in both for x in row])
    out.matrix("nextn.post_projection.weight", E, width)
    for number, slides in enumerate(SLIDES):
        layer(out, number, slides, target)
    out.write(sys.argv[2], target.tokenizer)
    if "-v" in sys.argv:
        names = target.values["tokenizer.ggml.tokens"]
        print({names[one]: names[other] for one, other in follows.items()})
        print([round(math.sqrt(dot(target.rows[one], target.rows[one])), 2) for one in follows])


main()
