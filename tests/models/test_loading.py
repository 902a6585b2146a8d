"""Models are loaded from folders, and every way to fail is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.errors import ModelError
from bench.models.kind import ModelKind
from bench.models.loading import load_model
from bench.testing import tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lm = tiny_model("gpt2")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def refused(name: str) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(name)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize("kind", list(ModelKind))
def test_a_local_folder_gives_the_model_that_was_saved(kind: ModelKind, tmp_path: Path) -> None:
    saved = tiny_model(kind)
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)

    loaded = load_model(str(tmp_path))

    assert loaded.kind is kind
    assert loaded.digest() == saved.digest()
    assert loaded.encoder.label_ids == saved.encoder.label_ids
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_the_identity_follows_the_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    lm = tiny_model("gpt2", seed=1)
    lm.model.save_pretrained(other)
    lm.tokenizer.save_pretrained(other)

    assert load_model(str(folder)).identity != load_model(str(other)).identity


def test_weights_are_converted_to_the_dtype_asked_for(folder: Path) -> None:
    assert load_model(str(folder), dtype="bf16").dtype is torch.bfloat16


def test_corrupt_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a header")

    assert "can not be read" in refused(str(folder))


def test_cut_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    assert "can not be read" in refused(str(folder))


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    assert "holds no model.safetensors" in refused(str(folder))


def test_weights_that_lack_a_parameter_are_refused_not_drawn_at_random(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.2.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    assert "transformer.h.2.mlp.c_fc.weight" in refused(str(folder))


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_embd": 8}))

    assert "can not be read" in refused(str(folder))


def test_a_configuration_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")

    assert "can not be read as JSON" in refused(str(folder))


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()

    assert "holds no tokenizer" in refused(str(folder))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", ""])
def test_a_folder_that_is_not_there_is_refused(name: str) -> None:
    assert "there is no such folder" in refused(name)


@pytest.mark.parametrize("name", ["nobody/no-such-model", "zzzzzz", "bad name!"])
def test_a_hub_name_without_a_network_is_refused(name: str) -> None:
    assert "neither embedded nor a folder" in refused(name)
