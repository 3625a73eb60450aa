#!/usr/bin/env python3
"""Makes the tiny encoders of tests/data/models/encoder_* with PyPI's transformers (5.x) and torch.

    python make_encoder_models.py <tests/data/models>

Each folder is a model directory as its family publishes it, plus expected.safetensors: `tokens` (all texts, one after
another), `lengths`, and what the model gives for each text alone, computed in double precision and stored as float32.
Every parameter is random, norm weights and biases too, so that no term of the formulas is neutral.
"""
import json
import pathlib
import shutil
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForMaskedLM, BertModel, CLIPConfig, CLIPModel, LongformerConfig,
                          LongformerModel, RobertaConfig, RobertaModel, T5Config, T5EncoderModel)

ROOT = pathlib.Path(sys.argv[1])


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1 and ("norm" in name.lower() or "layrnorm" in name) and name.endswith("weight"):
                parameter.copy_(1.0 + 0.2 * noise)
            elif parameter.dim() < 2:
                parameter.copy_(0.3 * noise)
            elif "embed" in name or "shared" in name or "relative" in name:
                parameter.copy_(0.7 * noise)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(noise * 1.2 / fan_in ** 0.5)
    return model.eval()


def texts(lengths, vocab_size, seed, first=None, smallest=5):
    generator = torch.Generator().manual_seed(seed)
    out = []
    for length in lengths:
        ids = torch.randint(smallest, vocab_size, (length,), generator=generator)
        if first is not None:
            ids[0] = first
        out.append(ids)
    return out


def fresh(name):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def save_expected(folder, tokens, values):
    values = {key: value.detach().float().contiguous() if value.is_floating_point() else value.contiguous()
              for key, value in values.items()}
    values["tokens"] = torch.cat(tokens)
    values["lengths"] = torch.tensor([len(t) for t in tokens])
    save_file(values, folder / "expected.safetensors")
    print(folder.name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def save_weights(folder, tensors, metadata=None):
    # Wide types first, so that every tensor is aligned.
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors",
              metadata=metadata or {"format": "pt"})


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def sentence_transformer(folder, pooling, width, normalize=True, dense=None, max_seq_length=None):
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if dense is not None:
        modules.append(("2_Dense", "Dense"))
    if normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    write_json(folder / "modules.json",
               [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for i, (path, kind) in enumerate(modules)])
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    write_json(folder / "1_Pooling" / "config.json",
               {"word_embedding_dimension": width,
                **{f"pooling_mode_{mode}": mode == pooling for mode in modes}, "include_prompt": True})
    if max_seq_length is not None:
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})
    if dense is not None:
        write_json(folder / "2_Dense" / "config.json",
                   {"in_features": dense.in_features, "out_features": dense.out_features, "bias": True,
                    "activation_function": "torch.nn.modules.activation.Tanh"})
        save_file({"linear.weight": dense.weight.data.clone(), "linear.bias": dense.bias.data.clone()},
                  folder / "2_Dense" / "model.safetensors")


def bert_mean():
    """No prefix; three heads of 12; mean pooling and normalisation; token types."""
    folder = fresh("encoder_bert_mean")
    config = BertConfig(vocab_size=101, hidden_size=36, num_hidden_layers=2, num_attention_heads=3,
                        intermediate_size=72, max_position_embeddings=160, type_vocab_size=2, pad_token_id=0)
    config._attn_implementation = "eager"
    model = randomise(BertModel(config), 1)
    model.save_pretrained(folder)
    sentence_transformer(folder, "mean_tokens", 36, max_seq_length=128)
    tokens = texts([1, 7, 130, 160], 101, 1)
    types = [torch.zeros_like(tokens[0]), (torch.arange(7) >= 4).long(), (torch.arange(130) >= 77).long(),
             torch.zeros_like(tokens[3])]
    model.double()
    states = [model(ids[None], token_type_ids=kind[None]) for ids, kind in zip(tokens, types)]
    rows = [s.last_hidden_state[0] for s in states]
    save_expected(folder, tokens, {
        "types": torch.cat(types),
        "states": torch.cat(rows),
        "pooler": torch.cat([s.pooler_output for s in states]),
        "mean": torch.stack([r.mean(0) for r in rows]),
        "max": torch.stack([r.max(0).values for r in rows]),
        "sentence": torch.stack([F.normalize(r.mean(0), dim=-1) for r in rows])})


def bert_dense():
    """Names with the prefix `bert.` and gamma/beta, as old files have them; [CLS], a dense layer with tanh; bf16."""
    folder = fresh("encoder_bert_dense")
    config = BertConfig(vocab_size=101, hidden_size=40, num_hidden_layers=2, num_attention_heads=5,
                        intermediate_size=50, max_position_embeddings=64, hidden_act="gelu_new")
    config._attn_implementation = "eager"
    model = randomise(BertModel(config), 2)
    dense = randomise(torch.nn.Linear(40, 24), 3)
    tensors = {}
    for name, value in model.state_dict().items():
        if "position_ids" in name:
            continue
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors["bert." + name] = value.clone()
    tensors["bert.embeddings.position_ids"] = torch.arange(64)[None]
    tensors["cls.seq_relationship.weight"] = torch.ones(2, 40)
    save_weights(folder, tensors)
    write_json(folder / "config.json", {**config.to_dict(), "architectures": ["BertForPreTraining"]})
    sentence_transformer(folder, "cls_token", 40, dense=dense)
    tokens = texts([1, 8, 64], 101, 4)
    model.double(), dense.double()
    rows = [model(ids[None]).last_hidden_state[0] for ids in tokens]
    save_expected(folder, tokens, {
        "states": torch.cat(rows),
        "sentence": torch.stack([F.normalize(torch.tanh(dense(r[0])), dim=-1) for r in rows])})


def roberta():
    """Positions from pad_token_id + 1; heads of 6; stored as float16."""
    folder = fresh("encoder_roberta")
    config = RobertaConfig(vocab_size=99, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
                           intermediate_size=64, max_position_embeddings=82, type_vocab_size=1, pad_token_id=1,
                           layer_norm_eps=1e-5)
    config._attn_implementation = "eager"
    model = randomise(RobertaModel(config), 5).half().float()
    save_weights(folder, {"roberta." + name: value.half() for name, value in model.state_dict().items()
                          if "position_ids" not in name and "token_type_ids" not in name})
    write_json(folder / "config.json", {**config.to_dict(), "architectures": ["RobertaForMaskedLM"]})
    tokens = texts([1, 9, 80], 99, 6, first=0)
    tokens[2][5] = 1  # a padding token inside of a text has no position of its own
    model.double()
    rows = [model(ids[None], attention_mask=torch.ones_like(ids)[None]).last_hidden_state[0] for ids in tokens]
    save_expected(folder, tokens, {"states": torch.cat(rows), "sentence": torch.stack([r.mean(0) for r in rows])})


def splade(name, tied, seed):
    """A masked-language-model head: log(1 + relu), the largest of all tokens."""
    folder = fresh(name)
    config = BertConfig(vocab_size=131, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=160, tie_word_embeddings=tied)
    config._attn_implementation = "eager"
    model = randomise(BertForMaskedLM(config), seed)
    if tied:
        model.tie_weights()
    model.save_pretrained(folder)
    tokens = texts([1, 5, 130, 64], 131, seed)
    model.double()
    logits = [model(ids[None]).logits[0] for ids in tokens]
    save_expected(folder, tokens, {
        "sentence": torch.stack([torch.log1p(torch.relu(l)).max(0).values for l in logits])})


def colbert():
    """A projection of each token, normalised; a query's masks see the text and are seen by nobody."""
    folder = fresh("encoder_colbert")
    config = BertConfig(vocab_size=101, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=64)
    config._attn_implementation = "eager"
    model = randomise(BertModel(config, add_pooling_layer=False), 9)
    linear = randomise(torch.nn.Linear(32, 16, bias=False), 10)
    tensors = {"bert." + key: value.clone() for key, value in model.state_dict().items() if "position_ids" not in key}
    tensors["linear.weight"] = linear.weight.data.clone()
    save_weights(folder, tensors)
    write_json(folder / "config.json", {**config.to_dict(), "architectures": ["HF_ColBERT"]})
    query, document = texts([9, 50], 101, 11)
    query = torch.cat([query, torch.full((32 - 9,), 4)])
    model.double(), linear.double()
    with_masks = model(query[None], attention_mask=(torch.arange(32) < 9).long()[None]).last_hidden_state[0]
    rows = [with_masks, model(document[None]).last_hidden_state[0]]
    tokens = [F.normalize(linear(r), dim=-1) for r in rows]
    save_expected(folder, [query, document], {"attended": torch.tensor([9, 50]), "token_vectors": torch.cat(tokens)})


def longformer():
    """Windows that differ by layer; no, one and two global tokens."""
    folder = fresh("encoder_longformer")
    config = LongformerConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                              intermediate_size=64, max_position_embeddings=302, attention_window=[8, 24],
                              type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                              layer_norm_eps=1e-5)
    model = randomise(LongformerModel(config), 12)
    save_weights(folder, {"longformer." + key: value for key, value in model.state_dict().items()
                          if "position_ids" not in key})
    write_json(folder / "config.json", {**config.to_dict(), "architectures": ["LongformerForMaskedLM"]})
    tokens = texts([1, 5, 37, 130, 300], 97, 13, first=0)
    model.double()
    values = {}
    for n_global in (0, 1, 2):
        rows = []
        for ids in tokens:
            marks = torch.zeros_like(ids)
            marks[:n_global] = 1
            rows.append(model(ids[None], attention_mask=torch.ones_like(ids)[None],
                              global_attention_mask=marks[None] if n_global else None).last_hidden_state[0])
        values[f"states_{n_global}"] = torch.cat(rows)
    save_expected(folder, tokens, values)


def t5(name, seed, config, projection):
    folder = fresh(name)
    model = randomise(T5EncoderModel(config), seed)
    tensors = {key: value.clone() for key, value in model.state_dict().items() if key != "encoder.embed_tokens.weight"}
    document = {**config.to_dict(), "architectures": ["T5EncoderModel"]}
    proj = None
    if projection:
        proj = randomise(torch.nn.Linear(config.d_model, projection), seed + 1)
        tensors["proj.weight"], tensors["proj.bias"] = proj.weight.data.clone(), proj.bias.data.clone()
        document.update(architectures=["CodeT5p_Embedding"], model_type="codet5p_embedding", embed_dim=projection,
                        is_encoder_decoder=False)
        proj.double()
    save_weights(folder, tensors)
    write_json(folder / "config.json", document)
    tokens = texts([1, 6, 65, 200], config.vocab_size, seed)
    model.double()
    rows = [model(input_ids=ids[None]).last_hidden_state[0] for ids in tokens]
    values = {"states": torch.cat(rows)}
    if projection:
        values["sentence"] = torch.stack([F.normalize(proj(r[0]), dim=-1) for r in rows])
    save_expected(folder, tokens, values)


def clip(name, seed, eos, act, patch, size):
    """Both towers; with eos 2 the largest id ends the text, as the first models' files say it."""
    folder = fresh(name)
    config = CLIPConfig(
        projection_dim=20,
        text_config=dict(vocab_size=103, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=4, max_position_embeddings=24, hidden_act=act, eos_token_id=eos,
                         bos_token_id=101, pad_token_id=1, projection_dim=20),
        vision_config=dict(hidden_size=36, intermediate_size=72, num_hidden_layers=2, num_attention_heads=3,
                           image_size=size, patch_size=patch, hidden_act=act, projection_dim=20))
    config._attn_implementation = "eager"
    model = randomise(CLIPModel(config), seed)
    model.save_pretrained(folder)
    tokens = texts([3, 9, 24], 100, seed)
    for ids in tokens:
        ids[0] = 101
    tokens[0][2] = tokens[1][6] = tokens[2][23] = 102 if eos == 2 else eos
    tokens[1][8] = 102 if eos == 2 else eos
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))
    model.double()
    outputs = [model(input_ids=ids[None], pixel_values=pixels.double()) for ids in tokens]
    save_expected(folder, tokens, {
        "pixels": pixels,
        "states": torch.cat([o.text_model_output.last_hidden_state[0] for o in outputs]),
        "sentence": torch.cat([o.text_model_output.pooler_output for o in outputs]),
        "normalized": torch.cat([o.text_embeds for o in outputs]),
        "image_states": outputs[0].vision_model_output.last_hidden_state.flatten(0, 1),
        "image": outputs[0].vision_model_output.pooler_output})


def main():
    torch.set_num_threads(1)
    with torch.no_grad():
        bert_mean()
        bert_dense()
        roberta()
        splade("encoder_splade", True, 7)
        splade("encoder_splade_untied", False, 8)
        colbert()
        longformer()
        t5("encoder_t5", 14, T5Config(vocab_size=95, d_model=32, d_kv=10, d_ff=64, num_layers=2, num_heads=3,
                                      feed_forward_proj="relu", n_positions=200), 12)
        t5("encoder_t5_gated", 16, T5Config(vocab_size=95, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=4,
                                            feed_forward_proj="gated-gelu", relative_attention_num_buckets=12,
                                            relative_attention_max_distance=40, n_positions=200), 0)
        clip("encoder_clip", 18, 2, "quick_gelu", 8, 24)
        clip("encoder_clip_eos", 19, 98, "gelu", 6, 20)


main()
