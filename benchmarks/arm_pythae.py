"""Pythae 0.1.2 on the models of the other arms, in its own process: ``train`` one epoch, or ``nll`` of one image."""

from __future__ import annotations

import tempfile
import time

import inputs
import torch
from common import Turn, now, serve, size
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

STEPS, SAMPLES = size(400, 3), size(5000, 20)


def images(part: str, n: int) -> torch.Tensor:
    return (inputs.images(part, n)[0] > 127).float()


class Encoder(BaseEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.mean, self.log_var = nn.Linear(200, 50), nn.Linear(200, 50)

    def forward(self, x):
        h = self.body(x.reshape(-1, 784))
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    def __init__(self) -> None:
        super().__init__()
        widths = [nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784), nn.Sigmoid()]
        self.body = nn.Sequential(*widths)

    def forward(self, z):
        return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))


def train() -> Turn:
    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce"))
    x = images("train", 128 * STEPS)
    settings = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), num_epochs=1, per_device_train_batch_size=128, learning_rate=1e-3, no_cuda=True
    )
    trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=settings)
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # no progress bar, no files
    model.train()

    def turn() -> dict[str, float]:
        started = now()
        trainer.train_step(epoch=1)
        return {"seconds": now() - started, "steps": len(x) // 128}

    return turn


def nll(batch: int) -> Turn:
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=50, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder()).eval()
    x = images("test", 4)

    def turn() -> dict[str, float]:
        started = time.perf_counter()
        with torch.no_grad():
            model.get_nll(x, n_samples=SAMPLES, batch_size=batch)
        return {"seconds": (time.perf_counter() - started) / len(x)}

    return turn


def make(what: str, batch: str = "") -> Turn:
    return train() if what == "train" else nll(int(batch.removeprefix("batch ")))


if __name__ == "__main__":
    serve(make)
