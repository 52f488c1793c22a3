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

from test_training import loop, stop_at, two_players

from fusevae.core.processes import leave


def main(game: str, parallel: str, folder: Path) -> None:
    torch.set_num_threads(1)
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if several:
        distributed.init_process_group("gloo")
    settings = {"parallel": parallel, "average": 0.9, "clip": 2.0}
    folder.mkdir(exist_ok=True)
    if game == "vae":
        if several:
            stop_at(loop(folder, **settings), 30)
            distributed.barrier()  # a process may be killed before the first has written its checkpoint
        run = loop(folder, **settings)
        assert run.resume() == several
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
