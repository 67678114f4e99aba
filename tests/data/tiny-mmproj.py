#!/usr/bin/env python3
"""Writes tiny-mmproj.gguf: a random, untrained projector (gemma4v + gemma4a) for tiny-gemma4-tools.gguf.

Needs nothing but Python. The same file comes out every time:  ./tiny-mmproj.py OUT.gguf [TEXT_N_EMBD]
"""
import random
import struct
import sys

TEXT = int(sys.argv[2]) if len(sys.argv) > 2 else 128  # embedding_length of the language model
E, HEADS, FF = 16, 1, 16  # the vision tower: one block
PLACES = 1024  # 280 tokens in a row of 3 patches each are 840: wider is no picture after scaling
A, A_FF, A_OUT, MELS = 16, 64, 16, 128  # the sound tower: one block
F32, F16 = 0, 1
rng = random.Random(5)
tensors, keys = [], []


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, raw):
    keys.append(text(name) + struct.pack("<I", kind) + raw)


def number(name, value):
    key(name, 4, struct.pack("<I", value))


def fraction(name, value):
    key(name, 6, struct.pack("<f", value))


def word(name, value):
    key(name, 8, text(value))


def yes(name):
    key(name, 7, b"\1")


def numbers(name, values):
    key(name, 9, struct.pack("<IQ", 6, len(values)) + struct.pack(f"<{len(values)}f", *values))


def tensor(name, shape, kind, values):
    raw = struct.pack(f"<{len(values)}{'fe'[kind]}", *values)
    tensors.append((name, shape, kind, raw))


def matrix(name, *shape, std=None, kind=F16):
    count = 1
    for extent in shape:
        count *= extent
    std = std or shape[0] ** -0.5
    tensor(name, shape, kind, [rng.gauss(0.0, std) for _ in range(count)])


def flat(name, length, value=1.0):
    tensor(name, (length,), F32, [value] * length)


def vision():
    yes("clip.has_vision_encoder")
    word("clip.vision.projector_type", "gemma4v")
    yes("clip.use_gelu")
    sizes = dict(embedding_length=E, feed_forward_length=FF, block_count=1, projection_dim=TEXT, image_size=224, patch_size=16)
    for name, value in sizes.items():
        number(f"clip.vision.{name}", value)
    number("clip.vision.attention.head_count", HEADS)
    fraction("clip.vision.attention.layer_norm_epsilon", 1e-6)
    numbers("clip.vision.image_mean", [0.0] * 3)
    numbers("clip.vision.image_std", [1.0] * 3)
    matrix("v.patch_embd.weight", 16, 16, 3, E, std=0.05)
    matrix("v.position_embd.weight", E, PLACES, 2, std=0.02)
    block = "v.blk.0."
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        matrix(f"{block}{name}.weight", E, E)
    flat(f"{block}attn_q_norm.weight", E // HEADS)
    flat(f"{block}attn_k_norm.weight", E // HEADS)
    for name in ("ln1", "ln2", "attn_post_norm", "ffn_post_norm"):
        flat(f"{block}{name}.weight", E)
    matrix(f"{block}ffn_up.weight", E, FF)
    matrix(f"{block}ffn_gate.weight", E, FF)
    matrix(f"{block}ffn_down.weight", FF, E)
    matrix("mm.input_projection.weight", E, TEXT)


def sound():
    yes("clip.has_audio_encoder")
    word("clip.audio.projector_type", "gemma4a")
    sizes = dict(embedding_length=A, feed_forward_length=A_FF, block_count=1, projection_dim=TEXT, num_mel_bins=MELS)
    for name, value in sizes.items():
        number(f"clip.audio.{name}", value)
    number("clip.audio.attention.head_count", HEADS)
    fraction("clip.audio.attention.layer_norm_epsilon", 1e-6)
    matrix("a.conv1d.0.weight", 3, 3, 1, 8, std=0.3, kind=F32)
    flat("a.conv1d.0.norm.weight", 8)
    matrix("a.conv1d.1.weight", 3, 3, 8, 4, std=0.1, kind=F32)
    flat("a.conv1d.1.norm.weight", 4)
    matrix("a.input_projection.weight", 4 * MELS // 4, A)
    block = "a.blk.0."
    for name in ("attn_q", "attn_k", "attn_v", "attn_out", "attn_k_rel"):
        matrix(f"{block}{name}.weight", A, A)
    flat(f"{block}per_dim_scale.weight", A // HEADS)
    flat(f"{block}per_dim_k_scale.weight", A // HEADS)
    norms = "ffn_norm ffn_post_norm ffn_norm_1 ffn_post_norm_1 attn_pre_norm attn_post_norm ln2 conv_norm norm_conv"
    for name in norms.split():
        flat(f"{block}{name}.weight", A)
    for suffix in ("", "_1"):
        matrix(f"{block}ffn_up{suffix}.weight", A, A_FF)
        matrix(f"{block}ffn_down{suffix}.weight", A_FF, A)
    matrix(f"{block}conv_pw1.weight", A, 2 * A)
    matrix(f"{block}conv_dw.weight", 5, A, std=0.3, kind=F32)
    matrix(f"{block}conv_pw2.weight", A, A)
    matrix("a.pre_encode.out.weight", A, A_OUT)
    flat("a.pre_encode.out.bias", A_OUT, 0.0)
    matrix("mm.a.input_projection.weight", A_OUT, TEXT)


def main():
    word("general.architecture", "clip")
    word("general.type", "mmproj")
    vision()
    sound()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys)
    at = 0
    for name, shape, kind, raw in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", kind, at)
        at += -(-len(raw) // 32) * 32
    with open(sys.argv[1], "wb") as out:
        out.write(head + bytes(-len(head) % 32))
        for _, _, _, raw in tensors:
            out.write(raw + bytes(-len(raw) % 32))


main()
