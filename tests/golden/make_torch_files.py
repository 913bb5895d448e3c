"""Makes torch/*.bin, small files as PyTorch writes them, whose numbers tests/unit/test_torch_file.py knows.

``python tests/golden/make_torch_files.py``; needs torch, which the tests themselves do not.
"""

from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent / "torch"


def counted(*shape: int, start: int = 0) -> torch.Tensor:
    """Gives eighths counted up from ``start``: exact in every type."""
    count = torch.Size(shape).numel()
    return (torch.arange(start, start + count, dtype=torch.float32) / 8).reshape(shape)


def save(name: str, content: object, **how: object) -> None:
    torch.save(content, HERE / name, **how)


def main() -> None:
    HERE.mkdir(exist_ok=True)
    layer = torch.nn.Linear(3, 4)
    layer.load_state_dict({"weight": counted(4, 3), "bias": counted(4, start=100)})
    save("module.bin", layer.state_dict())
    base = counted(4, 6)
    save(
        "layouts.bin",
        OrderedDict(
            float=base,
            transposed=base.T,
            part=base[1:3, ::2],
            again=base,
            parameter=torch.nn.Parameter(counted(2, 2)),
            half=counted(5).half(),
            brain=counted(5).bfloat16(),
            scalar=torch.tensor(1.5),
            expanded=counted(1, 3).expand(4, 3),
            whole=torch.arange(4),
            double=counted(2).double(),
            empty=torch.empty(0),
        ),
    )
    save("nested.bin", {"epoch": 3, "state_dict": layer.state_dict(), "optimizer": {"state": {0: {"step": 1.5}}}})
    save("protocol4.bin", layer.state_dict(), pickle_protocol=4)
    save("legacy.bin", layer.state_dict(), _use_new_zipfile_serialization=False)
    save("whole_module.bin", layer)
    save("list.bin", [counted(2)])


if __name__ == "__main__":
    main()
