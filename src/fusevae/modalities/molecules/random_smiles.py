"""Molecules written from another atom each time that they are seen in training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.steps import View
from fusevae.core.vocabulary import END, UNKNOWN, Vocabulary
from fusevae.modalities.molecules.chemistry import chemistry, parse, quiet
from fusevae.modalities.text.schema import TextSchema


class RandomSmiles(View):
    """The same molecule by a random one of its SMILES in training, as it is in evaluation (Bjerrum 2017; Arus-Pous et
    al. 2019).

    The order of the atoms is drawn anew each time, keyed as all noise is by seed, step and place in the batch. What
    can't be written so stays as it is: what is no molecule, or would need tokens that the vocabulary doesn't have or
    more of them than the longest example has.

    Raises :class:`InputError` for data that are no text, and where rdkit is missing.
    """

    changes_support = False

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary: Vocabulary | None = None
        self.longest = 0

    def spec(self, data: DataSpec) -> DataSpec:
        if not isinstance(data.schema, TextSchema):
            raise InputError(f"RandomSmiles is for molecules as text, these data are arrays {data.shape}: leave it out")
        self.vocabulary, self.longest = data.schema.vocabulary, data.shape[0]
        return data

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        seeds = (noise.uniform((len(x),)).double() * (2**31 - 2)).long() + 1
        rows = [self._again(row, seed) for row, seed in zip(x.tolist(), seeds.tolist(), strict=True)]
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=END).to(x.device)

    def _again(self, row: list[int], seed: int) -> list[int]:
        assert self.vocabulary is not None
        found = parse(self.vocabulary.decode(row))
        try:
            with quiet():
                text = chemistry("Chem").MolToRandomSmilesVect(found, 1, randomSeed=seed)[0] if found else ""
            tokens = self.vocabulary.encode(text) if text else []
        except (InputError, RuntimeError, ValueError):
            return row
        fits = 0 < len(tokens) < self.longest and UNKNOWN not in tokens
        return [*tokens, END] if fits else row
