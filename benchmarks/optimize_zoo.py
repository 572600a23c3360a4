"""`strop optimize` on three real models with labels: before and after, and why INT8 was kept or dropped.

    STROP_ZOO=... python -m benchmarks.optimize_zoo [NAME ...]

Runs the command as a user would and keeps its document in `benchmarks/results/optimize_NAME.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.zoo_data import write_imagenet_labels

HERE = Path(__file__).parent
FUNCTIONS = {"cifar10_resnet56": "cifar10", "kws_dscnn": "keywords"}


def words(name: str, folder: Path) -> list[str]:
    """Returns the data options of the model `name`."""
    if name == "mobilenet_v2":
        images = Path(os.environ["STROP_ZOO"]) / "data" / "imagenet_val1300"
        labels = write_imagenet_labels(folder / "labels.csv")
        return ["--data", str(images), "--labels", str(labels), "--preprocess", "imagenet,resize=none"]
    return ["--data", f"{HERE / 'zoo_data.py'}:{FUNCTIONS[name]}"]


def main() -> None:
    for name in sys.argv[1:] or ["mobilenet_v2", "cifar10_resnet56", "kws_dscnn"]:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(os.environ["STROP_ZOO"]) / "models" / f"{name}.onnx"
            command = [sys.executable, "-m", "strop.cli", "optimize", str(model), *words(name, Path(folder))]
            command += ["--max-drop", "1%", "-o", str(Path(folder) / f"{name}.strop"), "--json"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(done.returncode)
            document = json.loads(done.stdout)
        text = json.dumps(document, indent=1)
        # What the machine's own folders are called is nobody's business.
        for path, name_of_it in ((os.environ["STROP_ZOO"], "$STROP_ZOO"), (str(HERE), "benchmarks"), (folder, "OUT")):
            text = text.replace(path, name_of_it)
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"optimize_{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
