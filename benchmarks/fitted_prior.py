"""A prior fitted after training: how much of the way from a plain VAE's sample FID to its floor it closes.

FID by the features of a convolutional classifier that is trained on the training set (64 features; its accuracy and the
hash of its weights are in the record), 5,000 samples against 5,000 test images; the floor is the FID of the
reconstructions of the other 5,000 test images. Samples and reconstructions are means of p(x | z). MNIST:
``binary-vae``, 40 epochs. CIFAR-10 (re-coded as JPEG): ``sigma-vae``, 5 epochs. Priors: each kind that ``fusevae
fit-prior`` has, fitted to the latents of the training set. Closed: (plain - fitted) / (plain - floor). Resumable.
``python benchmarks/fitted_prior.py [mnist|cifar10 [KIND ...]]``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from common import before, report, runs, size, start, train, write
from inputs import cifar10, mnist

RUNS = runs("fitted-prior")
PARENTS = {"mnist": ("binary-vae", 40), "cifar10": ("sigma-vae", 5)}
KINDS = size(("flow", "mixture", "made", "vae"), ("mixture",))


def data_path(name: str) -> Path:
    return mnist() if name == "mnist" else cifar10()


def parent(name: str) -> Path:
    """The trained plain VAE."""
    recipe, epochs = PARENTS[name]
    return train(RUNS / name, recipe, data_path(name), [f"training.epochs={epochs}"])


def one(name: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """All figures of one data set; what is measured is kept in a file."""
    import torch

    import fusevae
    from fusevae.nets.classifier import Classifier

    kept = RUNS / f"{name}.json"
    found = json.loads(kept.read_text()) if kept.exists() else {"kinds": {}}
    data = fusevae.read_data(str(data_path(name)))
    weights = RUNS / f"{name}-extractor.pt"
    spec = data.spec
    net = Classifier(spec.shape, spec.n_classes, low=spec.low, high=spec.high)
    if weights.exists():
        net.load_state_dict(torch.load(weights))
    else:
        RUNS.mkdir(parents=True, exist_ok=True)
        net, found["extractor_accuracy"] = fusevae.train_extractor(str(data_path(name)))
        torch.save(net.state_dict(), weights)
    run = fusevae.load(parent(name))
    before = (parent(name) / "model.safetensors").read_bytes()
    if "plain" not in found:
        found["plain"] = fusevae.sample_quality(run, data.test, net, kind="mean").to_dict()
        write(kept, json.dumps(found))
    for kind in kinds:
        if kind in found["kinds"]:
            continue
        started = time.perf_counter()
        child = fusevae.fit_prior(run, data.train, kind)
        seconds = time.perf_counter() - started
        quality = fusevae.sample_quality(child, data.test, net, kind="mean")
        plain, floor = found["plain"]["fid"], found["plain"]["floor"]
        closed = (plain - quality.fid) / (plain - floor)
        found["kinds"][kind] = {"fid": quality.fid, "closed": closed, "seconds_to_fit": seconds}
        write(kept, json.dumps(found))
        print(name, kind, found["kinds"][kind], file=sys.stderr, flush=True)
    found["parent_unchanged"] = (parent(name) / "model.safetensors").read_bytes() == before
    write(kept, json.dumps(found))
    return found


def main(name: str = "", *kinds: str) -> None:
    for n in [name] if name else size(list(PARENTS), ["mnist"]):
        one(n, kinds or KINDS)
    files = {n: RUNS / f"{n}.json" for n in PARENTS}
    found = {n: json.loads(p.read_text()) for n, p in files.items() if p.exists()}
    report("fitted_prior", before("fitted_prior") | found, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
