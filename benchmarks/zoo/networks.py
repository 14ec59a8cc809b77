"""The networks of the zoo: how each is made, what goes in, and what is cut off. Runs in the zoo's environment."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NETWORKS", "Network"]

Maker = Callable[[], Any]


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Attributes:
        make: Returns it with fresh weights.
        inputs: `--input-shape` of each input.
        outputs: `--outputs`.
    """

    make: Maker
    inputs: tuple[str, ...] = ("x=1x3x224x224",)
    outputs: tuple[str, ...] = ()


def _torchvision(name: str, **options: Any) -> Maker:
    def make() -> Any:
        return importlib.import_module("torchvision.models").get_model(name, weights=None, **options)

    return make


def _detection(name: str) -> Maker:
    def make() -> Any:
        detection = importlib.import_module("torchvision.models.detection")
        return _Detector(getattr(detection, name)(weights=None, weights_backbone=None))

    return make


def _segmentation(name: str) -> Maker:
    def make() -> Any:
        segmentation = importlib.import_module("torchvision.models.segmentation")
        return getattr(segmentation, name)(weights=None, weights_backbone=None)

    return make


def _Detector(network: Any) -> Any:  # noqa: N802 - makes a class that needs torch, which is imported late
    """Backbone and heads of a torchvision detector; its selection of boxes stays out."""
    nn = importlib.import_module("torch").nn

    class Detector(nn.Module):  # type: ignore[misc,name-defined] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = network.backbone, network.head

        def forward(self, x: Any) -> Any:
            return self.head(list(self.backbone(x).values()))

    return Detector()


def _timm(name: str) -> Maker:
    return lambda: importlib.import_module("timm").create_model(name, pretrained=False)


def _yolo(name: str) -> Maker:
    return lambda: importlib.import_module("ultralytics.nn.tasks").DetectionModel(name, verbose=False)


def _transformer(kind: str, config: str, /, **sizes: Any) -> Maker:
    def make() -> Any:
        library = importlib.import_module("transformers")
        return getattr(library, kind)(getattr(library, config)(**sizes))

    return make


def _unet() -> Any:
    return importlib.import_module("segmentation_models_pytorch").Unet("mobilenet_v2", encoder_weights=None)


def _gcn() -> Any:
    torch = importlib.import_module("torch")
    layers = importlib.import_module("torch_geometric.nn")

    class Gcn(torch.nn.Module):  # type: ignore[misc,name-defined] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.GraphConv(16, 64), layers.GraphConv(64, 7)

        def forward(self, x: Any, edge_index: Any) -> Any:
            return self.second(self.first(x, edge_index).relu(), edge_index)

    return Gcn()


def _cached_decoder() -> Any:
    """GPT-2 that takes the keys and values of the tokens before, and gives back those of all."""
    torch = importlib.import_module("torch")
    library = importlib.import_module("transformers")
    decoder = library.GPT2LMHeadModel(library.GPT2Config(**_GPT2))

    class Cached(torch.nn.Module):  # type: ignore[misc,name-defined] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.decoder = decoder

        def forward(self, input_ids: Any, keys: Any, values: Any) -> Any:
            cache = library.DynamicCache()
            for layer in range(keys.shape[0]):
                cache.update(keys[layer], values[layer], layer)
            answer = self.decoder(input_ids=input_ids, past_key_values=cache, use_cache=True)
            return {
                "logits": answer.logits,
                "keys_after": torch.stack([layer.keys for layer in cache.layers]),
                "values_after": torch.stack([layer.values for layer in cache.layers]),
            }

    return Cached()


def _own(name: str, *layers: str) -> Maker:
    """One of the small shapes; `layers` are classes of torch that it is made of."""

    def make() -> Any:
        nn = importlib.import_module("torch").nn
        shapes = importlib.import_module("benchmarks.zoo.shapes")
        return getattr(shapes, name)(*(getattr(nn, layer) for layer in layers))

    return make


_BERT: Final = {"vocab_size": 500, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
                "intermediate_size": 512}  # fmt: skip
_GPT2: Final = {"vocab_size": 500, "n_embd": 128, "n_layer": 2, "n_head": 4}
_LLAMA: Final = {"vocab_size": 500, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                 "num_key_value_heads": 2, "intermediate_size": 256, "use_cache": False}  # fmt: skip
_TOKENS: Final = "input_ids=1x24:int64"

NETWORKS: Final[Mapping[str, Network]] = {
    "tv_squeezenet1_1": Network(_torchvision("squeezenet1_1")),
    "tv_mobilenet_v3_small": Network(_torchvision("mobilenet_v3_small")),
    "tv_shufflenet_v2_x1_0": Network(_torchvision("shufflenet_v2_x1_0")),
    "hf_gpt2": Network(_transformer("GPT2LMHeadModel", "GPT2Config", use_cache=False, **_GPT2), (_TOKENS,)),
    "hf_gpt2_cache": Network(
        _cached_decoder, ("input_ids=Nx1:int64", "keys=2xNx4xPx32", "values=2xNx4xPx32")
    ),
    "hf_bert_token_types": Network(
        _transformer("BertForSequenceClassification", "BertConfig", **_BERT),
        (_TOKENS, "token_type_ids=1x24:int64"),
    ),
    "hf_bert_free_length": Network(
        _transformer("BertForSequenceClassification", "BertConfig", **_BERT), ("input_ids=1xS:int64",)
    ),
    "yolov8n": Network(_yolo("yolov8n.yaml"), ("x=1x3x320x320",)),
    "yolo11n": Network(_yolo("yolo11n.yaml"), ("x=1x3x320x320",)),
    "tv_ssdlite320_heads": Network(_detection("ssdlite320_mobilenet_v3_large"), ("x=1x3x320x320",)),
    "pyg_graphconv": Network(_gcn, ("x=Vx16", "edge_index=2xE:int64")),
    "tv_mobilenet_v2": Network(_torchvision("mobilenet_v2")),
    "tv_mobilenet_v2_free_size": Network(_torchvision("mobilenet_v2"), ("x=1x3xHxW",)),
    "hf_llama": Network(_transformer("LlamaForCausalLM", "LlamaConfig", **_LLAMA), (_TOKENS,)),
    "hf_distilbert": Network(
        _transformer(
            "DistilBertForSequenceClassification",
            "DistilBertConfig",
            vocab_size=500,
            dim=128,
            n_layers=2,
            n_heads=4,
            hidden_dim=512,
        ),
        (_TOKENS, "attention_mask=1x24:int64"),
    ),
    "hf_wav2vec2": Network(
        _transformer(
            "Wav2Vec2ForCTC",
            "Wav2Vec2Config",
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            conv_dim=(64,) * 7,
            vocab_size=32,
            num_conv_pos_embedding_groups=4,
        ),
        ("input_values=1x8000",),
    ),
    "timm_mobilenetv4_conv_small": Network(_timm("mobilenetv4_conv_small")),
    "timm_mobileone_s0": Network(_timm("mobileone_s0")),
    "timm_ghostnet_100": Network(_timm("ghostnet_100")),
    "timm_mobilevit_xxs": Network(_timm("mobilevit_xxs"), ("x=1x3x256x256",)),
    "timm_vit_tiny": Network(_timm("vit_tiny_patch16_224")),
    "timm_efficientnet_lite0": Network(_timm("efficientnet_lite0")),
    "timm_levit_128s": Network(_timm("levit_128s")),
    "timm_fastvit_t8": Network(_timm("fastvit_t8"), ("x=1x3x256x256",)),
    "timm_repvit_m0_9": Network(_timm("repvit_m0_9")),
    "timm_edgenext_xx_small": Network(_timm("edgenext_xx_small"), ("x=1x3x256x256",)),
    "timm_convnextv2_atto": Network(_timm("convnextv2_atto")),
    "timm_efficientformer_l1": Network(_timm("efficientformer_l1")),
    "timm_lcnet_050": Network(_timm("lcnet_050")),
    "timm_tinynet_e": Network(_timm("tinynet_e"), ("x=1x3x106x106",)),
    "timm_hardcorenas_a": Network(_timm("hardcorenas_a")),
    "timm_resnet10t": Network(_timm("resnet10t"), ("x=1x3x176x176",)),
    "timm_mixer_s32": Network(_timm("mixer_s32_224")),
    "timm_gmlp_ti16": Network(_timm("gmlp_ti16_224")),
    "timm_poolformer_s12": Network(_timm("poolformer_s12")),
    "timm_mnasnet_small": Network(_timm("mnasnet_small")),
    "timm_semnasnet_075": Network(_timm("semnasnet_075")),
    "timm_dla46_c": Network(_timm("dla46_c")),
    "timm_efficientvit_m0": Network(_timm("efficientvit_m0")),
    "timm_xcit_nano": Network(_timm("xcit_nano_12_p16_224")),
    "timm_pit_ti": Network(_timm("pit_ti_224")),
    "smp_unet": Network(_unet, ("x=1x3x128x128",)),
    "tv_mobilenet_v3_large": Network(_torchvision("mobilenet_v3_large")),
    "tv_efficientnet_b0": Network(_torchvision("efficientnet_b0")),
    "tv_mnasnet0_5": Network(_torchvision("mnasnet0_5")),
    "tv_regnet_x_400mf": Network(_torchvision("regnet_x_400mf")),
    "tv_regnet_y_400mf": Network(_torchvision("regnet_y_400mf")),
    "tv_googlenet": Network(_torchvision("googlenet", init_weights=False, aux_logits=False)),
    "tv_densenet121": Network(_torchvision("densenet121")),
    "tv_lraspp": Network(_segmentation("lraspp_mobilenet_v3_large"), ("input=1x3x224x224",)),
    "tv_deeplabv3": Network(_segmentation("deeplabv3_mobilenet_v3_large"), ("1x3x224x224",)),
    "tv_resnet18": Network(_torchvision("resnet18")),
    "tv_alexnet": Network(_torchvision("alexnet")),
    "hf_segformer": Network(
        _transformer("SegformerForSemanticSegmentation", "SegformerConfig", num_labels=19),
        ("pixel_values=1x3x128x128",),
    ),
    "hf_vit": Network(
        _transformer(
            "ViTForImageClassification",
            "ViTConfig",
            hidden_size=192,
            num_hidden_layers=4,
            num_attention_heads=3,
            intermediate_size=768,
        ),
        ("pixel_values=1x3x224x224",),
    ),
    "hf_whisper_encoder": Network(
        _transformer(
            "WhisperModel",
            "WhisperConfig",
            d_model=128,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=512,
            vocab_size=500,
            decoder_ffn_dim=512,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=3,
            use_cache=False,
        ),
        ("input_features=1x80x3000", "decoder_input_ids=1x4:int64"),
        ("encoder",),
    ),
    "own_gru": Network(_own("Spotter", "GRU"), ("x=1x98x40",)),
    "own_lstm": Network(_own("Spotter", "LSTM"), ("x=1x98x40",)),
    "own_experts": Network(_own("Experts"), ("x=1x64",)),
    "own_field": Network(_own("Field"), ("points=1x3",)),
    "own_spectral_norm": Network(_own("Spectral"), ("x=1x3x32x32",)),
    "own_weight_norm": Network(_own("Tcn"), ("x=1x16x100",)),
    "own_tied_language": Network(_own("TiedLanguage"), ("tokens=1x16:int64",)),
    "own_shared_block": Network(_own("Shared"), ("x=1x64",)),
    "own_optional_argument": Network(_own("Masked"), ("x=1x64", "mask=1x64")),
    "own_keyword_only": Network(_own("KeywordOnly"), ("image=1x3x32x32", "meta=1x6")),
    "tv_inception_v3": Network(
        _torchvision("inception_v3", init_weights=False, aux_logits=False), ("x=1x3x299x299",)
    ),
    "tv_resnet50": Network(_torchvision("resnet50")),
    "tv_mc3_18": Network(_torchvision("mc3_18"), ("x=1x3x8x112x112",)),
    "tv_swin_t": Network(_torchvision("swin_t")),
    "tv_convnext_tiny": Network(_torchvision("convnext_tiny")),
    "tv_vit_b_16": Network(_torchvision("vit_b_16"), ("x=1x3x224x224",)),
}
