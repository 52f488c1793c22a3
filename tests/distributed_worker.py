"""What each process of test_distributed runs: ``python distributed_worker.py GAME PARALLEL FOLDER``.

With several processes the VAE is killed after 30 steps and resumed from its checkpoint, which must change nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parent))

from test_training import loop, seldom, stop_at, two_players

from fusevae.core.processes import leave
from fusevae.training.loop import Loop

#: a VAE of texts by its recipe, each with dropout: in a transformer, an LSTM, and one more of molecules
TEXTS = {
    "text-vae": (["a man rides a bike", "two dogs play in the snow", "a girl sings"], {"heads": 2, "layers": 2}),
    "text-vae-lstm": (["a man rides a bike", "two dogs play", "a girl sings in the rain"], {}),
    "molecules-vae": (["CCO", "c1ccccc1O", "CC(=O)N", "CCCCN(C)C"], {"heads": 2, "layers": 1}),
}


def texts(recipe: str, **settings: object) -> Loop:
    """Six steps with dropout of a third."""
    import fusevae
    from fusevae.core import noise
    from fusevae.training.prepare import prepare
    from fusevae.training.recipes import find, reads

    given, options = TEXTS[recipe]
    data = fusevae.read_data(given * 8, validation=0.0, test=0.0, **reads(recipe))
    with noise.preserved():
        torch.manual_seed(1)
        made = find(recipe)(data.spec, latent=4, width=16, dropout=1 / 3, **options)
    training = fusevae.Training(**{"epochs": 6 * 8 / len(data.train), "batch_size": 8, "warmup": 0.0, **settings})
    return prepare(made.model, data, [], made.objective, training, 0, "cpu")


def main(game: str, parallel: str, folder: Path) -> None:
    torch.set_num_threads(1)
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if several:
        distributed.init_process_group("gloo")
    settings = {"parallel": parallel, "average": 0.9, "clip": 2.0}
    folder.mkdir(exist_ok=True)
    if game == "texts":
        found = {}
        for recipe in TEXTS:
            run = texts(recipe, parallel=parallel)
            run.run()
            found[recipe] = {n: t for n, t in run.state().tensors.items() if n.startswith("game/")}
        if run.rank == 0:
            torch.save(found, folder / "result.pt")
        return leave()
    if game == "vae":
        if several:
            stop_at(loop(folder, **settings), 30)
            distributed.barrier()  # a process may be killed before the first has written its checkpoint
        run = loop(folder, **settings)
        assert run.resume() == several
    elif game == "seldom":
        run = loop(None, seldom(), **settings)
    elif game == "two_players":
        run = two_players(**settings)
    else:
        from test_adversarial import loop as adversarial

        run = adversarial(game, epochs=2, **settings)
    run.run()
    state = run.state().tensors
    held = run.average.ready().state_dict()
    if run.rank == 0:
        torch.save({"state": state, "held": held, "records": list(run.records)}, folder / "result.pt")
    leave()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
