"""Writes the values that contextlm-generate's sampling is tested with.

    pip install torch==2.9.0 transformers==4.57.1
    python tools/write_sampling_fixtures.py crates/contextlm-generate/tests/fixtures/sampling.json

Every case has logits, prompt, generated tokens, settings, and `scores`: the logits as `transformers` leaves them before
it samples, null for minus infinity. Presence and frequency penalties, which it does not have, follow the formula of
OpenAI's API documentation, logits[j] - count[j] * frequency - (count[j] > 0) * presence, counting generated tokens.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

VOCABULARY = 40
CASES = [
    {"temperature": 0.7},
    {"temperature": 1.7},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 100},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 1.0, "top_p": 0.3},
    {"temperature": 1.0, "top_p": 0.001},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 1.0, "min_p": 1.0},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.8},
    {"temperature": 1.0, "presence_penalty": 0.7},
    {"temperature": 1.0, "frequency_penalty": 0.4},
    {"temperature": 1.0, "frequency_penalty": -0.4, "presence_penalty": 0.3},
    {"temperature": 1.0, "logit_bias": [[3, 4.0], [7, -2.5]]},
    {"temperature": 0.0, "repetition_penalty": 1.3, "logit_bias": [[5, 1.5]]},
    {"temperature": 2.0, "top_k": 20, "top_p": 0.8, "min_p": 0.2, "repetition_penalty": 1.2, "logit_bias": [[4, -1.0], [9, 2.0]]},
    {"temperature": 0.6, "top_k": 30, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.1, "logit_bias": [[11, 3.0]]},
    {"temperature": 0.9, "top_k": 12, "top_p": 0.9, "repetition_penalty": 1.5, "presence_penalty": 0.5, "frequency_penalty": 0.2},
]


class Penalties:
    """OpenAI's penalties."""

    def __init__(self, prompt_length, presence, frequency):
        self.prompt_length, self.presence, self.frequency = prompt_length, presence, frequency

    def __call__(self, tokens, scores):
        counts = torch.bincount(tokens[0, self.prompt_length :], minlength=VOCABULARY)
        return scores - counts * self.frequency - (counts > 0) * self.presence


def processors(settings, model, prompt_length):
    """transformers' own list for these settings, in its order, with the penalties before the first warper."""
    names = ("top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: settings[name] for name in names if name in settings}
    given.setdefault("top_k", 0)
    bias = [[[token], value] for token, value in settings.get("logit_bias", [])]
    sample = settings["temperature"] > 0
    if sample:
        given["temperature"] = settings["temperature"]
    config = GenerationConfig(do_sample=sample, sequence_bias=bias or None, **given)
    found = model._get_logits_processor(config, input_ids_seq_length=prompt_length, device="cpu")
    before = [p for p in found if "Warper" not in type(p).__name__]
    warpers = [p for p in found if "Warper" in type(p).__name__]
    penalties = Penalties(prompt_length, settings.get("presence_penalty", 0.0), settings.get("frequency_penalty", 0.0))
    return before + [penalties] + warpers


def main(path):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=1))
    cases = []
    for settings in CASES:
        logits = torch.randn(1, VOCABULARY) * 2
        prompt = torch.randint(VOCABULARY, (1, 6))
        generated = torch.randint(VOCABULARY, (1, 5)).repeat(1, 2)[:, :8]
        scores = logits.clone()
        for process in processors(settings, model, prompt.shape[1]):
            scores = process(torch.cat([prompt, generated], 1), scores)
        shown = [None if value == float("-inf") else value for value in scores[0].tolist()]
        case = dict(settings=settings, logits=logits[0].tolist(), scores=shown)
        cases.append(dict(**case, prompt=prompt[0].tolist(), generated=generated[0].tolist()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


main(Path(sys.argv[1]))
