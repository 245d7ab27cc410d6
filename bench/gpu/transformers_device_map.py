"""The baseline's model in layers over several devices, as device_map="auto" lays it, with random weights made where
they stay.

No device ever holds more than its part: the model is built on torch's meta device, then filled tensor by tensor. Where
accelerate is installed it chooses the parts and moves what goes from one to the next, as in from_pretrained; elsewhere
the same is done here.
"""

import torch
from torch import nn

try:
    import accelerate
except ImportError:
    accelerate = None

# Layers whose inputs are all that must move.
UNSPLIT = {"Qwen2DecoderLayer", "InternVLVisionLayer"}


def build(make_model, devices: list[torch.device]) -> tuple[nn.Module, dict]:
    """The model, ready to run from devices[0], and what the report says of how it lies."""
    with torch.device("meta"):
        model = make_model()
    by_accelerate = accelerate is not None and devices[0].type == "cuda"
    places = accelerate_places(model, devices) if by_accelerate else equal_places(model, devices)
    fill(model, places)
    if by_accelerate:
        accelerate.dispatch_model(model, device_map={name: place.index for name, place in places.items()})
    else:
        for name, device in places.items():
            follow(model.get_submodule(name), device)
        decoder = model.model.language_model
        follow(decoder.rotary_emb, decoder.embed_tokens.weight.device)
    counts = [sum(1 for place in places.values() if torch.device(place) == device) for device in devices]
    how = f"accelerate {accelerate.__version__}" if by_accelerate else "equal parts in order, without accelerate"
    return model, {"devices": len(devices), "deviceMap": how, "modulesByDevice": counts}


def accelerate_places(model: nn.Module, devices: list[torch.device]) -> dict:
    kept_whole = list(model._no_split_modules)
    free = {index: torch.cuda.mem_get_info(device)[0] for index, device in enumerate(devices)}
    memory = accelerate.utils.get_balanced_memory(model, max_memory=free, no_split_module_classes=kept_whole)
    places = accelerate.infer_auto_device_map(model, max_memory=memory, no_split_module_classes=kept_whole)
    elsewhere = {place for place in places.values() if not isinstance(place, int)}
    if elsewhere:
        raise RuntimeError(f"the model does not fit the GPUs: parts of it would lie on {elsewhere}")
    return {name: torch.device("cuda", place) for name, place in places.items()}


def units(model: nn.Module, prefix: str = "") -> list[str]:
    """Modules that stay whole, in the order in which they run."""
    names = []
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        is_whole = type(child).__name__ in UNSPLIT or any(True for _ in child.parameters(recurse=False))
        names += [path] if is_whole else units(child, f"{path}.")
    return names


def equal_places(model: nn.Module, devices: list[torch.device]) -> dict:
    """Consecutive modules, about as many bytes on each device."""
    sizes = {name: sum(each.nbytes for each in model.get_submodule(name).parameters()) for name in units(model)}
    total, before, places = sum(sizes.values()), 0, {}
    for name, size in sizes.items():
        middle = before + size / 2
        places[name] = devices[min(int(middle / total * len(devices)), len(devices) - 1)]
        before += size
    return places


def fill(model: nn.Module, places: dict) -> None:
    """Every parameter on its device: matrices random, norms and scales one, biases zero."""
    def place_of(name: str) -> torch.device:
        owner = max((each for each in places if name == each or name.startswith(f"{each}.") or each == ""), key=len)
        return places[owner]

    for name, parameter in list(model.named_parameters()):
        values = torch.empty(parameter.shape, dtype=parameter.dtype, device=place_of(name))
        if parameter.ndim > 1:
            values.normal_(0, 0.02)
        else:
            values.fill_(0 if name.endswith("bias") else 1)
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(values, requires_grad=False))
    # Its frequencies are computed in the constructor, which on the meta device computes nothing.
    decoder = model.model.language_model
    rotary = type(decoder.rotary_emb)(config=model.config.text_config)
    decoder.rotary_emb = rotary.to(decoder.embed_tokens.weight.device)
    empty = [name for name, each in [*model.named_parameters(), *model.named_buffers()] if each.is_meta]
    if empty:
        raise RuntimeError(f"without values: {empty}")


def follow(module: nn.Module, device: torch.device) -> None:
    """What the module is called with comes to its device first."""
    def moved(value):
        if isinstance(value, torch.Tensor):
            return value.to(device)
        if isinstance(value, (tuple, list)):
            return type(value)(moved(each) for each in value)
        return value

    def before(_module, args, kwargs):
        return tuple(moved(each) for each in args), {key: moved(each) for key, each in kwargs.items()}

    module.register_forward_pre_hook(before, with_kwargs=True)
