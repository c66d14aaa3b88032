"""One pass over a machine with a GPU, in under 8 minutes, and what is there by then: `tox -e gpu`.

On a bare machine without the network: `python3 tests/check_gpu.py --out DIR --wheels DIR`, with the wheels of
what it lacks in a folder. Where torch and the usual packages of the field are, that is opacus and msgspec:

    pip download opacus msgspec -d DIR --no-deps --only-binary=:all: --python-version 3.12
        --platform manylinux2014_x86_64

Each step has a limit of its own, so that one that hangs costs only itself. After each, what it printed, its
records and a summary are in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOTAL = 470.0
"""Seconds for all steps together."""
MOST_WORKERS = 8
"""Processes of a run and of the tests, at most: each has a context of its own on the GPU."""


@dataclass(frozen=True)
class GpuStep:
    """A command with a limit.

    Args:
        name: of its log.
        limit: seconds, after which it is stopped.
        command: for this Python.
    """

    name: str
    limit: float
    command: tuple[str, ...]


def steps(device: str, out: Path, *, quick: bool) -> list[GpuStep]:
    """All that is done on a GPU, the most telling first."""
    suite = ("-m", "suite")
    workers = f"-j{min(MOST_WORKERS, os.cpu_count() or 1)}"  # kernels of small cases leave a GPU to others
    small = (
        "--quick",
        "--case=mse",
        "--case=cross-entropy-convolution",
        "--convention=sum",
        "--convention=clip-*",
    )
    asked = (workers, *(small if quick else ()))
    many = ("--case=mse", "--rounds=1") if quick else ()
    # Each test is told as it ends, so that a step that is stopped has told something.
    tests = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "default", "tests/test_gpu.py")
    if not quick and find_spec("xdist") is not None:
        tests = (*tests, "-n", str(min(MOST_WORKERS, os.cpu_count() or 1)))
    here, there = str(out / "runs" / "cpu"), str(out / "runs" / device)
    large = (*suite, "run", "--case=large/*", "--engine=streaming", "--quick")
    large = (*large, f"--device={device}", f"--output={out / 'runs' / 'large'}")
    fast = tuple(f"--engine={name}" for name in ("opacus", "streaming", "torch-func"))
    bench = (*suite, "bench", f"--device={device}", "--json", *many)
    own = ("-m", "tests.check_gpu", *(["--quick"] if quick else []))
    return [
        GpuStep("environment", 40, (*suite, "env", f"--device={device}", "--json")),
        GpuStep("tests", 100, (*tests, *(("-k", "columns or recorded") if quick else ()))),
        GpuStep("run on the device", 110, (*suite, "run", f"--device={device}", f"--output={there}", *asked)),
        GpuStep("run on the processor", 100, (*suite, "run", "--device=cpu", f"--output={here}", *asked)),
        GpuStep("diff", 30, (*suite, "diff", here, there)),
        *(() if quick else (GpuStep("large cases", 60, large),)),
        GpuStep("tokens", 60, (*own, "--tokens", device)),
        GpuStep("engines on larger models", 50, (*own, "--large", device)),
        GpuStep("benchmark", 40, bench),
        GpuStep("benchmark of 128", 40, (*bench, "--units=128", *fast)),
    ]


def carry_out(step: GpuStep, limit: float, out: Path, surroundings: dict[str, str]) -> dict[str, object]:
    """Do one step, and say what became of it."""
    begin = time.monotonic()
    with (out / f"{step.name.replace(' ', '-')}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *step.command],
            cwd=ROOT, env=surroundings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code: int | str = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()
            code = f"stopped after {limit:.0f} s"
    return {"step": step.name, "exit": code, "seconds": round(time.monotonic() - begin, 1)}


def main() -> int:
    """Do all steps; 0 if each ended well, 1 if one did not, 2 without the device."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--wheels", type=Path, help="a folder with wheels to install first, from no network")
    parser.add_argument("--quick", action="store_true", help="few cases: a rehearsal without a GPU")
    parser.add_argument("--seconds", type=float, default=TOTAL)
    parser.add_argument("--large", metavar="DEVICE", help=argparse.SUPPRESS)
    parser.add_argument("--tokens", metavar="DEVICE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.large or given.tokens:
        (engines_on_larger_models if given.large else tokens)(given.large or given.tokens, quick=given.quick)
        return 0
    begin, out = time.monotonic(), given.out.absolute()
    (out / "runs").mkdir(parents=True, exist_ok=True)
    surroundings = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    path = [str(ROOT), *filter(None, [surroundings.get("PYTHONPATH")])]
    if given.wheels is not None:
        site = out / "site"
        wheels = [str(wheel) for wheel in sorted(given.wheels.glob("*.whl"))]
        if not wheels:
            parser.error(f"--wheels: there is no .whl in {given.wheels}")
        install = (sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--upgrade")
        subprocess.run([*install, "--target", str(site), *wheels], check=True)
        path.insert(0, str(site))
    surroundings["PYTHONPATH"] = os.pathsep.join(path)
    done = []
    for step in steps(given.device, out, quick=given.quick):
        left = given.seconds - (time.monotonic() - begin)
        if left < 5:
            done.append({"step": step.name, "exit": "not begun: no time was left", "seconds": 0.0})
        else:
            done.append(carry_out(step, min(step.limit, left), out, surroundings))
        _say(", ".join(map(str, done[-1].values())))
        (out / "summary.json").write_text(json.dumps(done, indent=2))
        if step.name == "environment" and done[-1]["exit"] != 0:
            said = (out / "environment.log").read_text(errors="replace").strip()
            _say(f"Nothing else is begun: {said.rpartition(chr(10))[2]}")
            return 2
    return 0 if all(step["exit"] == 0 for step in done) else 1


def engines_on_larger_models(device: str, *, quick: bool) -> None:
    """What each engine costs for models that are large enough for a GPU."""
    import copy
    import warnings

    import torch

    from cases import losses, models
    from suite.engines import engines
    from suite.engines.cost import peak, seconds
    from suite.machine.global_state import full_precision

    where, n, length = torch.device(device), (4 if quick else 64), (8 if quick else 128)
    torch.manual_seed(0)
    sizes = (784, 64, 10) if quick else (784, 2048, 1024, 10)
    width = 16 if quick else 256
    made = {
        "mlp": (models.mlp(*sizes), (torch.randn(n, 784), torch.randint(10, (n,))), losses.cross_entropy),
        "transformer": (
            models.Transformer(256, length, width, 4, 4),
            (torch.randint(256, (n, length)), torch.randint(256, (n, length))),
            losses.next_token,
        ),
    }
    for name, (model, batch, unreduced) in made.items():
        model, batch = model.to(where), tuple(part.to(where) for part in batch)
        params = sum(p.numel() for p in model.parameters())
        with full_precision(), warnings.catch_warnings():
            warnings.simplefilter("ignore")

            def ordinary(model=model, batch=batch, unreduced=unreduced) -> None:
                unreduced(model, batch).mean().backward()

            ordinary()
            once = min(seconds(ordinary, where) for _ in range(3))
            _say(f"{name}: {n} samples, {params} parameters, forward and backward {once * 1e3:.2f} ms")
            for engine in engines:
                if engine.name == "loop":
                    continue

                def gram(engine=engine, model=model, batch=batch, unreduced=unreduced) -> object:
                    return engine.compute(copy.deepcopy(model), batch, unreduced).gram()

                gram()
                took = min(seconds(gram, where) for _ in range(2))
                most = peak(gram, where) or 0
                _say(f"  {engine.name}: {took / once:.2f} ×, {most / 1e6:.0f} MB")


def tokens(device: str, *, quick: bool) -> None:
    """The weight that a step gave to each token, for a model of GPT-2's size: 124 million parameters."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    import suite
    from cases import models

    torch.manual_seed(0)
    vocabulary, width, heads, depth, length = (64, 16, 2, 2, 6) if quick else (50257, 768, 12, 12, 128)
    model = models.Transformer(vocabulary, max(length, 8 if quick else 1024), width, heads, depth)
    model.head.weight = model.token.weight  # as GPT-2 does
    model = model.to(device)
    x, y = torch.randint(vocabulary, (2, 2, length), device=device)
    counted = torch.rand(2, length, device=device) > 0.25

    def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none")

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        (losses(model, batch) * counted).sum().div(counted.sum()).backward()

    begin = time.perf_counter()
    found = suite.recover(step, model, (x, y), losses)
    took = time.perf_counter() - begin
    params = sum(p.numel() for p in model.parameters())
    wanted = (counted / counted.sum()).flatten().cpu().double()
    error = float((torch.as_tensor(found.weights) - wanted).abs().max() / wanted.max())
    _say(f"{params} parameters, {wanted.numel()} tokens: {took:.1f} s, error {error:.2g}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
