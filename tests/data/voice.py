#!/usr/bin/env python3
"""Writes voice.ogg: 1.5 seconds of a made-up voice, as a telephone records it (Opus in Ogg, one channel), by libopus.

Needs `soundfile` and `numpy` (PyPI):  ./voice.py voice.ogg
"""
import sys

import numpy as np
import soundfile

RATE, SECONDS = 48_000, 1.5
time = np.arange(int(RATE * SECONDS)) / RATE
# A pitch that rises and falls, its overtones, and a loudness like that of syllables.
phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 2.5 * time)) / RATE
voice = sum(np.sin(number * phase) / number for number in range(1, 15))
voice *= 0.15 * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
soundfile.write(sys.argv[1], voice.astype("float32"), RATE, format="OGG", subtype="OPUS", compression_level=0.95)
