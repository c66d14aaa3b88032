# ruff: noqa: E501  one line a statement
"""Files that users write, each with something that was badly answered once."""

STEP = """
import torch, torch.nn.functional as F
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
batch = (torch.randn(8, 4).double(), torch.randint(3, (8,)))
def losses(model, batch): return F.cross_entropy(model(batch[0]), batch[1], reduction="none")
def step(model, batch): losses(model, batch).mean().backward()
"""

CASE = """
import os, torch, torch.nn.functional as F
from gradsuite import Problem, case
def losses(model, batch): return F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1)
def problem(**more):
    data = tuple(torch.randn(8, width) for width in (3, 1))
    return Problem(**{"model": lambda: torch.nn.Linear(3, 1), "data": data, "losses": losses, **more})
"""

STEPS = {
    "exit in a step": STEP + "import sys\ndef step(model, batch): sys.exit(0)\n",
    "exit in the losses": STEP + "import sys\ndef losses(model, batch): sys.exit(0)\n",
    "os._exit in a step": STEP + "import os\ndef step(model, batch): os._exit(0)\n",
    "a step that forks": STEP
    + "import os\n"
    + "def step(model, batch):\n"
    + "    child = os.fork() or os._exit(3)\n"
    + "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3\n"
    + "    losses(model, batch).mean().backward()\n",
    "a module that is added": STEP
    + "def step(model, batch):\n"
    + "    model.add_module('9', torch.nn.Linear(3, 3).double()); losses(model, batch).mean().backward()\n",
    "a parameter that is replaced": STEP
    + "def step(model, batch):\n"
    + "    model[0].weight = torch.nn.Parameter(model[0].weight.detach().clone())\n"
    + "    losses(model, batch).mean().backward()\n",
    "half": STEP
    + "def step(model, batch):\n    model.half().double(); losses(model, batch).mean().backward()\n",
    "a step that prints": STEP
    + "print('loaded')\nimport os\n"
    + "def step(model, batch):\n    print('loss'); os.system('echo C'); losses(model, batch).mean().backward()\n",
    "a step that closes": STEP
    + "import sys\ndef step(model, batch): losses(model, batch).mean().backward(); sys.stdout.close()\n",
    "a hook on a parameter": STEP + "model[0].weight.register_hook(lambda g: g * 2)\n",
    "a hook after accumulation": STEP
    + "def clip(p): p.grad.clamp_(-0.01, 0.01)\n"
    + "for p in model.parameters(): p.register_post_accumulate_grad_hook(clip)\n",
    "a batch that is changed": STEP
    + "def step(model, batch): batch[0].mul_(2); losses(model, batch).mean().backward()\n",
    "spectral_norm": STEP
    + "from torch.nn.utils.parametrizations import spectral_norm\n"
    + "model = torch.nn.Sequential(spectral_norm(torch.nn.Linear(4, 6)), torch.nn.Linear(6, 3)).double()\n",
    "the old spectral_norm": STEP
    + "from torch.nn.utils import spectral_norm\n"
    + "model = torch.nn.Sequential(spectral_norm(torch.nn.Linear(4, 6)), torch.nn.Linear(6, 3)).double()\n",
    "InstanceNorm": STEP
    + "model = torch.nn.Sequential(torch.nn.Unflatten(1, (2, 2)), torch.nn.Flatten(),\n"
    + "    torch.nn.Unflatten(1, (1, 4)), torch.nn.InstanceNorm1d(1, track_running_stats=True),\n"
    + "    torch.nn.Flatten(), torch.nn.Linear(4, 3)).double()\n",
    "an async step": STEP + "async def step(model, batch): losses(model, batch).mean().backward()\n",
    "losses of nothing": STEP + "def losses(model, batch): pass\n",
    "losses of torch's own": STEP + "losses = torch.nn.CrossEntropyLoss()\n",
    "a class for a model": STEP + "model = torch.nn.Linear\n",
    "one sample that is nan": STEP + "batch[0][3] = float('nan')\n",
    "a script with options": STEP
    + "import argparse\np = argparse.ArgumentParser(); p.add_argument('--lr', required=True); p.parse_args()\n",
    "a script with defaults": STEP
    + "import argparse\np = argparse.ArgumentParser(); p.add_argument('--lr', default=1); p.parse_args()\n",
}

CASES = {
    "half a character": CASE
    + "@case(dataset='x', batch_sizes=(4,))\ndef first_named():\n    'Opens a Latin-1 file name.'\n"
    + "    def bad(model, batch): raise ValueError('cannot read ' + os.fsdecode(b'donn\\xe9es.csv'))\n"
    + "    return problem(losses=bad)\n"
    + "@case(dataset='x', batch_sizes=(4,))\ndef second_sound():\n    'Sound.'\n    return problem()\n",
    "prints": CASE
    + "print('loaded')\n@case(dataset='x', batch_sizes=(4,))\ndef prints_much():\n    'Prints.'\n"
    + "    print('built'); os.system('echo C'); return problem()\n",
    "a neighbour": CASE
    + "import answers_neighbour\n@case(dataset='x', batch_sizes=(4,))\ndef with_neighbour():\n"
    + "    'Imports what lies beside it, then and later.'\n"
    + "    import answers_later; return problem()\n",
    "another folder": CASE
    + "@case(dataset='x', batch_sizes=(4,))\ndef goes_elsewhere():\n    'Goes elsewhere.'\n    return problem()\n"
    + "os.chdir('/')\n",
    "foreign names": CASE
    + "for name in ('задача', '数据', '=1+1'):\n    @case(dataset='x', batch_sizes=(4,), name=name)\n"
    + "    def one():\n        'Named.'\n        return problem()\n",
    "escapes": CASE
    + "@case(dataset='x', batch_sizes=(4,))\ndef paints():\n    'Paints \\x1b]0;title\\x07 \\x1b[31mred.'\n"
    + "    raise ValueError('in \\x1b[5mred')\n",
    "no problem": CASE
    + "@case(dataset='x', batch_sizes=(4,))\ndef makes_nothing():\n    'Makes nothing.'\n    problem()\n"
    + "@case(dataset='x', batch_sizes=(4,))\ndef divides():\n    'Divides.'\n    return 1 / 0\n",
}
