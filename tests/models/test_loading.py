"""Models are loaded from folders, and every way to fail is one sentence."""

from __future__ import annotations

import errno
import json
import shutil
import textwrap
from pathlib import Path

import pytest
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file, save_file

from bench.errors import ModelError
from bench.models.catalogue import find_model
from bench.models.kind import ModelKind
from bench.models.loading import identify_model, load_model
from bench.models.memory import is_out_of_memory
from bench.models.options import LoadOptions
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


@pytest.mark.parametrize("name", ["nobody/no-such-model", "zzzzzz", "bad name!", "nobody/no-such-model@v1.0"])
def test_a_hub_name_without_a_network_is_refused(name: str) -> None:
    assert "neither embedded nor a folder" in refused(name)


def test_without_a_network_and_a_cache_one_sentence_says_what_to_do() -> None:
    message = refused("openai-community/gpt3@main")

    assert "without a network the hub's cache here does not hold it" in message
    assert "`hf download openai-community/gpt3`" in message


def test_a_hub_id_is_cut_from_its_revision() -> None:
    entry = find_model("owner/model@v1.0")

    assert (entry.name, entry.hub_id, entry.revision) == ("owner/model@v1.0", "owner/model", "v1.0")
    assert find_model("owner/model").revision == ""


@pytest.fixture
def hub_cache(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lay a model into a hub cache, as a download of its revision `main` does; give its commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path_factory.mktemp("hub")
    repository = cache / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(folder, repository / "snapshots" / commit)
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download", "transformers.utils.hub"):
        for name in ("HF_HUB_CACHE", "TRANSFORMERS_CACHE"):
            monkeypatch.setattr(f"{module}.{name}", str(cache), raising=False)
    return commit


def test_a_revision_is_pinned_to_its_commit(hub_cache: str) -> None:
    entry, pinned = identify_model("owner/tiny"), identify_model(f"owner/tiny@{hub_cache}")

    assert entry.revision == pinned.revision == hub_cache
    assert entry.identity == pinned.identity != ""
    assert load_model("owner/tiny@main", options=LoadOptions(revision=hub_cache)).kind is ModelKind.CAUSAL


def test_a_revision_that_is_not_in_the_cache_is_refused(hub_cache: str) -> None:
    assert "does not hold it" in refused("owner/tiny@v2")


def test_a_pickle_is_refused_unless_it_is_trusted(folder: Path) -> None:
    digest = load_model(str(folder)).digest()
    torch.save(tiny_model("gpt2").model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    message = refused(str(folder))
    trusted = load_model(str(folder), options=LoadOptions(reads_pickle=True))

    assert "could run anything" in message
    assert "--allow-pickle" in message
    assert trusted.digest() == digest


def test_trust_does_not_prefer_a_pickle_to_safetensors(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"no pickle at all")

    assert load_model(str(folder), options=LoadOptions(reads_pickle=True)).kind is ModelKind.CAUSAL


def test_code_that_comes_with_a_model_is_refused_unless_it_is_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    code = """
        from transformers import GPT2Config, GPT2LMHeadModel
        class OwnConfig(GPT2Config):
            model_type = "own"
        class Own(GPT2LMHeadModel):
            config_class = OwnConfig
    """
    (folder / "own.py").write_text(textwrap.dedent(code))
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "own", "architectures": ["Own"], "auto_map": names})
    )

    message = refused(str(folder))
    trusted = load_model(str(folder), options=LoadOptions(runs_remote_code=True))

    assert "--trust-remote-code" in message
    assert type(trusted.model).__name__ == "Own"
    assert identify_model(str(folder), options=LoadOptions(runs_remote_code=True)).has_code


@pytest.mark.parametrize("classes", ["own.OwnTokenizer", [None, "own.OwnTokenizer"]])
def test_code_of_the_tokenizer_alone_is_code_too(folder: Path, classes: object) -> None:
    _add_classes(folder / "tokenizer_config.json", {"AutoTokenizer": classes})

    entry = identify_model(str(folder), options=LoadOptions(runs_remote_code=True))

    assert entry.has_code
    assert not identify_model(str(folder)).has_code


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_from_another_repository_is_refused_before_it_runs(folder: Path, file: str) -> None:
    _add_classes(folder / file, {"AutoConfig": "own.Own", "AutoTokenizer": [None, "owner/code--own.Own"]})

    with pytest.raises(ModelError, match=r"from another repository, 'owner/code', of which no commit is pinned"):
        identify_model(str(folder), options=LoadOptions(runs_remote_code=True))


def test_code_named_by_the_models_own_repository_is_pinned_with_it(hub_cache: str) -> None:
    _add_classes(Path(hf_hub_download("owner/tiny", "config.json")), {"AutoModelForCausalLM": "owner/tiny--own.Own"})

    entry = identify_model("owner/tiny", options=LoadOptions(runs_remote_code=True))

    assert entry.has_code
    assert entry.revision == hub_cache


def _add_classes(path: Path, classes: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": classes}))


@pytest.mark.parametrize("architectures", [["BertModel"], ["BertForMaskedLM"], None])
def test_an_encoder_without_a_head_is_refused(architectures: list[str] | None, tmp_path: Path) -> None:
    lm = tiny_model("bert")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": architectures}))

    assert "has no head to answer with" in refused(str(tmp_path))


def test_a_causal_model_whose_head_is_not_named_is_known_by_its_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": None}))

    assert load_model(str(folder)).kind is ModelKind.CAUSAL


def test_the_dtype_of_the_weights_is_told_without_reading_them(tmp_path: Path) -> None:
    lm = tiny_model("gpt2", dtype=torch.float16)
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)

    assert identify_model(str(tmp_path)).dtype == "fp16"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_model_for_which_there_is_no_memory_is_not_said_to_be_broken(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)

    with pytest.raises(type(error)) as caught:
        load_model(str(folder))

    assert is_out_of_memory(caught.value)
