"""Nothing that comes from outside is ever run: no pickle, no eval, no shell, no YAML that makes objects."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("rt_engine", "drivers", "protocols", "gui") for path in (ROOT / folder).rglob("*.py")
)
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "code",
    "codeop",
    "pty",
}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "getoutput", "getstatusoutput", "execv", "execl"}
METHODS = {"send_pyobj", "recv_pyobj", "send_serialized", "recv_serialized", "unsafe_load", "full_load", "load_all"}


def offences(tree: ast.AST) -> list[str]:
    """What a program does that could run somebody's data."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"import {one.name}" for one in node.names if one.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            found.append(f"from {node.module}")
        elif isinstance(node, ast.Call):
            found += _offences_of_call(node)
    return found


def _offences_of_call(node: ast.Call) -> list[str]:
    name, owner = "", ""
    if isinstance(node.func, ast.Name):
        name = node.func.id
    elif isinstance(node.func, ast.Attribute):
        name = node.func.attr
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    keywords = {one.arg: one.value for one in node.keywords}
    found = []
    is_builtin_or_os = isinstance(node.func, ast.Name) or owner in ("os", "subprocess", "builtins")
    if (name in CALLS and is_builtin_or_os) or name in METHODS:
        found.append(name)
    shell = keywords.get("shell")
    if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
        found.append("shell=")
    if name == "load" and owner == "yaml":
        found.append("yaml.load")
    allowed = keywords.get("allow_pickle")
    if allowed is not None and not (isinstance(allowed, ast.Constant) and allowed.value is False):
        found.append("allow_pickle")
    if name == "load" and owner == "torch" and getattr(keywords.get("weights_only"), "value", None) is not True:
        found.append("torch.load without weights_only")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_runs_what_it_reads(path: Path) -> None:
    assert offences(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.externals",
        "eval(x)",
        "exec(x)",
        "__import__(x)",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=y)",
        "subprocess.getoutput(x)",
        "yaml.load(x, Loader=yaml.Loader)",
        "yaml.unsafe_load(x)",
        "np.load(x, allow_pickle=True)",
        "socket.recv_pyobj()",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert offences(ast.parse(code)) != []


@pytest.mark.parametrize("code", ["re.compile(x)", "yaml.safe_load(x)", "np.load(x)", "subprocess.run(x, shell=False)"])
def test_the_search_leaves_the_harmless_alone(code: str) -> None:
    assert offences(ast.parse(code)) == []
