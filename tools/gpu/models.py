"""The models that are measured."""

# layers, width, heads, vocabulary, positions, share of a head that is rotated (None: learned positions, serial, tied head)
MODELS = {
    "gpt2": (12, 768, 12, 50257, 1024, None),
    "pythia-410m": (24, 1024, 16, 50304, 2048, 0.25),
}
