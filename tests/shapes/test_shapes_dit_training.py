"""Training of the DiT: it sees the text that the stock pipeline makes, resumes, and exports what loads there."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from promptattn.shapes.training.batches import LatentSet
from promptattn.shapes.training.dit import (
    ZERO_ROWS,
    CollapsedRowsProcessor,
    TextPair,
    build_flow_scheduler,
    build_text_pair,
    build_transformer,
    flow_loss,
    refine,
    sample_sigmas,
)
from promptattn.shapes.training.dit_run import SMOKE_DIT, export_dit_run, train_dit_pipeline
from promptattn.shapes.training.text import WINDOW, build_text_encoder, build_tokenizer
from promptattn.shapes.training.unet_run import train_unet_pipeline
from promptattn.shapes.training.vae import build_vae

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_shapes.py"
CAPTIONS = ["a red cat left of a blue star on a black background", "un ratón gris", ""]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(200)


@pytest.fixture(scope="module")
def trained(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    torch.manual_seed(3)
    return build_text_encoder(tokenizer, width=128, layers=3).eval()


@pytest.fixture(scope="module")
def texts(trained: CLIPTextModel) -> TextPair:
    return build_text_pair(trained)


def ids_of(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    return tokenizer(captions, padding="max_length", max_length=WINDOW, return_tensors="pt").input_ids


def stirred(patch: int, seed: int = 0):
    """A transformer whose every weight matters: fresh ones are zero where they would say something."""
    torch.manual_seed(seed)
    model = build_transformer(patch, width=32, layers=2, heads=2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def make_pipe(tokenizer: CLIPTokenizer, texts: TextPair, vae: AutoencoderKL) -> StableDiffusion3Pipeline:
    return StableDiffusion3Pipeline(
        transformer=stirred(1),
        scheduler=build_flow_scheduler(),
        vae=vae,
        text_encoder=texts.first,
        tokenizer=tokenizer,
        text_encoder_2=texts.second,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


def test_training_text_is_the_pipelines_to_the_bit(tokenizer, texts) -> None:
    pipe = make_pipe(tokenizer, texts, build_vae((8, 8, 8)))
    with torch.no_grad():
        text, _, pooled, _ = pipe.encode_prompt(CAPTIONS, None, None, do_classifier_free_guidance=False)
    mine, mine_pooled = texts(ids_of(tokenizer, CAPTIONS), zero_rows=ZERO_ROWS)
    assert text.shape == (3, WINDOW + 256, 256)
    assert pooled.shape == (3, 24)
    assert text.dtype == mine.dtype == torch.float32
    assert torch.equal(mine, text)
    assert torch.equal(mine_pooled, pooled)
    assert pooled.abs().amin() > 0


def test_the_denoiser_reads_what_the_trained_encoder_says(trained, texts, tokenizer) -> None:
    ids = ids_of(tokenizer, CAPTIONS)
    with torch.no_grad():
        states = trained(input_ids=ids, output_hidden_states=True)
    first = texts.first(input_ids=ids, output_hidden_states=True)
    assert torch.equal(first.hidden_states[-2], states.hidden_states[-1])
    assert torch.equal(first.last_hidden_state, states.last_hidden_state)
    second = texts.second(input_ids=ids, output_hidden_states=True)
    assert torch.equal(second.hidden_states[-2], states.hidden_states[1])
    assert not any(parameter.requires_grad for parameter in texts.parameters())


@pytest.mark.parametrize("patch", [1, 2])
def test_one_row_stands_for_all_rows_of_zeros(patch, texts, tokenizer) -> None:
    model, ids = stirred(patch), ids_of(tokenizer, CAPTIONS)
    latents, timesteps = torch.randn(3, 4, 16, 16), torch.tensor([30.0, 500.0, 990.0])

    def predict(zero_rows: int) -> torch.Tensor:
        text, pooled = texts(ids, zero_rows)
        with torch.no_grad():
            return model(latents, text, pooled, timesteps).sample

    whole, single = predict(ZERO_ROWS), predict(1)
    model.set_attn_processor(CollapsedRowsProcessor(ZERO_ROWS))
    collapsed = predict(1)
    torch.testing.assert_close(collapsed, whole, atol=2e-5, rtol=1e-4)
    assert (single - whole).abs().max() > 1e-2


def test_a_finer_model_begins_with_what_the_coarse_one_knows() -> None:
    coarse, fine = stirred(2), stirred(1, seed=1)
    assert refine(coarse, fine) is fine
    patches = torch.randn(2, 4, 8, 8).repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        embedded, cells = coarse.pos_embed.proj(patches), fine.pos_embed.proj(patches)
        torch.testing.assert_close(cells, embedded.repeat_interleave(2, 2).repeat_interleave(2, 3))
        rows = torch.randn(5, 32)
        torch.testing.assert_close(fine.proj_out(rows), coarse.proj_out(rows).view(5, 4, 4).mean(1))
    places = fine.pos_embed.pos_embed.view(16, 16, 32)
    torch.testing.assert_close(coarse.pos_embed.pos_embed.view(8, 8, 32)[2, 3], places[4:6, 6:8].mean((0, 1)))
    taken = fine.state_dict()["transformer_blocks.0.attn.to_q.weight"]
    assert torch.equal(taken, coarse.state_dict()["transformer_blocks.0.attn.to_q.weight"])


def test_noise_levels_stay_inside_and_reach_both_ends() -> None:
    sigmas = sample_sigmas(np.random.default_rng(0), 20_000)
    assert sigmas.dtype == torch.float32
    assert 0 <= float(sigmas.min()) < 0.01
    assert 0.99 < float(sigmas.max()) <= 1


def test_the_loss_is_zero_for_the_true_velocity_only(tokenizer, texts) -> None:
    rng = np.random.default_rng(0)
    data = LatentSet(
        torch.from_numpy(rng.standard_normal((1, 4, 16, 16), np.float32)).half(),
        ids_of(tokenizer, CAPTIONS[:1]).to(torch.int16)[None],
        torch.from_numpy(rng.random((1, 16, 16)) < 0.3),
    )
    loss = flow_loss(data, texts, tokenizer, batch=4)

    class Oracle(torch.nn.Linear):
        """Knows the only latents there are: velocity = (noisy - latents) / sigma."""

        shift = 0.0

        def forward(self, noisy, text, pooled, timestep):
            velocity = (noisy - data.latents.float()) / (timestep / 1000)[:, None, None, None]
            return type("Out", (), {"sample": velocity + self.shift})

    oracle = Oracle(1, 1)
    assert float(loss(oracle, 0, np.random.default_rng(1))["loss"]) < 1e-6
    oracle.shift = 0.5
    for value in loss(oracle, 0, np.random.default_rng(1)).values():
        assert float(value) == pytest.approx(0.25, abs=1e-3)


def test_the_script_resumes_and_exports_a_stock_pipeline(tmp_path: Path) -> None:
    unet, folder = tmp_path / "unet", tmp_path / "dit"
    train_unet_pipeline(Accelerator(cpu=True), SMOKE_DIT.base, unet, None, lambda text: None)
    # Killed in the middle of the coarse stage, as far as the files can tell.
    short = replace(SMOKE_DIT, coarse=replace(SMOKE_DIT.coarse, steps=2), fine=replace(SMOKE_DIT.fine, steps=0))
    train_dit_pipeline(Accelerator(cpu=True), short, folder, unet, tmp_path / "early", lambda text: None)

    options = ["--folder", folder, "--unet-folder", unet, "--smoke", "--cpu", "--threads", "1"]
    command = [sys.executable, SCRIPT, "dit", *options]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("coarse", "fine"):
        steps = [json.loads(line)["step"] for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        assert steps == [1, 2, 3, 4]

    # As diffusers' documentation says to load an SD3 without T5.
    without_t5 = {"text_encoder_3": None, "tokenizer_3": None}
    pipe = StableDiffusion3Pipeline.from_pretrained(folder / "pipeline", dtype=torch.float32, **without_t5)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.transformer.config.patch_size == 1
    options = {"num_inference_steps": 2, "output_type": "np"}
    image = pipe("un gato rojo", generator=torch.Generator().manual_seed(0), **options).images[0]
    assert image.shape == (64, 64, 3)
    weights = list((folder / "pipeline").rglob("*.safetensors"))
    assert len(weights) == 4
    assert all(value.dtype == torch.float16 for path in weights for value in load_file(path).values())

    export_dit_run(SMOKE_DIT, folder, unet, tmp_path / "again")
    again = load_file(tmp_path / "again" / "transformer" / "diffusion_pytorch_model.safetensors")
    for name, value in pipe.transformer.state_dict().items():
        assert torch.equal(again[name].float(), value), name


def test_without_a_unet_run_the_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vae\.pt is missing: train the UNet pipeline first"):
        train_dit_pipeline(Accelerator(cpu=True), SMOKE_DIT, tmp_path / "dit", tmp_path / "unet", None)
