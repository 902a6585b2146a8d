"""Make datasets/continuations_data/targets.csv and source.toml: ten tokens behind each prompt, sampled from a model.

How to run it, with bench installed; it takes a minute of one core and needs no network:

    python tools/make_continuations.py facts-gpt2-1m

The model is an embedded causal one, or a folder with a newer build of it. Tokens are drawn at temperature 1 among all
but the special ones. A target with fewer than two tokens that are not the model's first choice is drawn again: the
passages are so regular that one in ten is just what the model would say, and to ask for that is no edit. Each case has
random numbers of its own, made from the seed and its id, so that a target depends on neither batches nor other cases.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

from bench.building.continuations import sample
from bench.datasets import _continuation_targets as data
from bench.datasets._continuation_prompts import Tokens, case_id, prompts
from bench.editing.dataset import Split
from bench.models.language_model import LanguageModel
from bench.models.loading import load_model
from bench.models.vocabulary import vocabulary_digest

SEED = 0
# Tokens of a target that are not the first choice. With 1, the 3M model still says 1.2 % of the targets unasked.
FEWEST_UNLIKELY = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="embedded model, or folder of a newer build of one")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the sampling (default: {SEED})")
    parser.add_argument("--folder", type=Path, default=data.FOLDER, help="where to write (default: %(default)s)")
    options = parser.parse_args()
    lm = load_model(options.model)
    tokenizer = lm.tokenizer.backend_tokenizer
    targets, drawn_again = {}, 0
    for split in Split:
        asked = prompts(tokenizer, split)
        names = [case_id(split, number) for number in range(len(asked))]
        targets[split], again = sample(
            lm, asked, names, options.seed, tokens=data.TARGET_TOKENS, fewest_unlikely=FEWEST_UNLIKELY
        )
        drawn_again += again
    write(options.folder, lm, targets, seed=options.seed)
    total = sum(map(len, targets.values()))
    print(f"{total} targets from {lm.name}, {drawn_again} draws repeated, in {options.folder}")


def write(folder: Path, lm: LanguageModel, targets: dict[Split, list[Tokens]], *, seed: int) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / data.TARGETS_FILE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(data.HEADER)
        for split, found in targets.items():
            table.writerows([split, number, " ".join(map(str, target))] for number, target in enumerate(found))
    source = (
        "# Made by tools/make_continuations.py: what the targets were sampled from.\n"
        f'model = "{Path(lm.name).name}"\n'
        f'model_digest = "{lm.identity}"\n'
        f"seed = {seed}\n"
        f'vocabulary = "{vocabulary_digest(lm.tokenizer.get_vocab())}"\n'
        f'prompts = "{prompts_digest(lm)}"\n'
    )
    (folder / data.SOURCE_FILE).write_text(source, encoding="utf-8")


def prompts_digest(lm: LanguageModel) -> str:
    """Give a checksum of all prompts: targets that were made for other passages fit none of these."""
    found = [prompts(lm.tokenizer.backend_tokenizer, split) for split in Split]
    return hashlib.sha256(repr(found).encode()).hexdigest()


if __name__ == "__main__":
    main()
