"""``fusevae decode``, and ``fusevae encode`` of a recording: files of any length through a codec."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from fusevae.cli import load
from fusevae.cli.write import Output
from fusevae.core.errors import InputError
from fusevae.core.files import written_whole
from fusevae.data.modality import modality_of
from fusevae.data.streamed import Streamed
from fusevae.training.run import Run


def compressed(options: Namespace, run: Run, output: Output) -> int | None:
    """Write the codes of one file, where the model is a codec of such; None where the latents of examples are meant."""
    kind, path = modality_of(run.artifact.data), None if options.data is None else Path(options.data).expanduser()
    codec = isinstance(kind, Streamed) and kind.is_codec(run.artifact)
    if not (codec and path is not None and path.is_file() and output.suffix == ".npz"):
        if options.codebooks is not None:
            raise InputError("--codebooks is for a codec, a file of sound as --data and .npz as --output: leave it out")
        return None
    assert isinstance(kind, Streamed) and path is not None and output.path is not None
    with run.computing(), written_whole(output.path) as part:
        facts = kind.compress(run.artifact, path, part, options.codebooks)
    print(f"{facts['seconds']:.2f} s at {facts['bits_per_second']:,.0f} bits a second", file=sys.stderr)
    return output.tell(options.json, facts)


def decode(options: Namespace) -> int:
    """Write what codes stand for."""
    output, run = Output(options.output), load.opened(options)
    kind = modality_of(run.artifact.data)
    if not (isinstance(kind, Streamed) and kind.is_codec(run.artifact)):
        raise InputError(f"{options.run} is no codec: give a run of speech-codec; see reconstruct and sample")
    assert output.path is not None
    if output.suffix not in kind.formats or output.suffix in ("", ".npz", ".parquet"):
        raise InputError(f"{options.output} is no file of sound: give a .wav, .flac or .ogg")
    with run.computing(), written_whole(output.path) as part:
        facts = kind.decompress(run.artifact, Path(options.data).expanduser(), part)
    return output.tell(options.json, facts)
