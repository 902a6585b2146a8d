"""Finds methods and datasets: built in, installed by entry point, or a file named on the command line.

A plug-in is a module that defines exactly one concrete `Editor` or `Dataset` whose `name` is the module's name. Its
`name`, `version`, `source` and `kinds` are read as literals from its source, so that listing imports nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bench.errors import PluginError, UnknownPlugin, nearest

__all__ = ["CARD", "Plugin", "PluginKind", "add_file", "find", "load", "plugins"]

PluginKind = Literal["methods", "datasets"]
CARD = ("task", "size", "licence", "citation")  # what a dataset may say of itself beside the fields of every plug-in
_CONTRACTS = {"methods": ("bench.editing.editor", "Editor"), "datasets": ("bench.editing.dataset", "Dataset")}
_KINDS = ("causal", "seq2seq", "classifier")
_FIELDS = ("name", "version", "source", "kinds")
_added: dict[str, dict[str, Path]] = {"methods": {}, "datasets": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A method or dataset as far as it is known without importing it.

    Args:
        name: what to ask for it by.
        version, source, kinds: as its class states them; empty where `problem` is set.
        module: the name to import it by.
        path: its file.
        origin: `built in`, the name of a distribution, or the file that was named.
        summary: the first line of its docstring.
        card: what a dataset says of itself beside, by the names of `CARD`; empty texts where it is silent.
        problem: why it can not be used, or None.
    """

    name: str
    version: int
    source: str
    kinds: tuple[str, ...]
    module: str
    path: Path
    origin: str
    summary: str
    card: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None

    @property
    def digest(self) -> str:
        """Give a checksum of the source, with that of the private modules beside it that it imports, as hex digits."""
        sources = [path.read_bytes() for path in _sources(self.path)]
        if len(sources) == 1:
            return hashlib.sha256(sources[0]).hexdigest()[:16]
        return hashlib.sha256(b"".join(hashlib.sha256(source).digest() for source in sources)).hexdigest()[:16]


def plugins(kind: PluginKind) -> dict[str, Plugin]:
    """Give all plug-ins of a kind by name: built in first, then installed ones, then named files.

    A name that is taken twice keeps its first owner; the second is listed under `name (origin)` with the problem.
    """
    found: dict[str, Plugin] = {}
    for plugin in [*_built_in(kind), *_installed(kind), *_files(kind)]:
        if plugin.name in found:
            problem = f"the name {plugin.name!r} is taken by {found[plugin.name].origin}"
            label = f"{plugin.name} ({plugin.origin})"
            found[label] = _broken(label, plugin.module, plugin.path, plugin.origin, problem)
        else:
            found[plugin.name] = plugin
    return found


def find(kind: PluginKind, name: str) -> Plugin:
    """Find one plug-in by name.

    Raises:
        UnknownPlugin: there is none of that name.
        PluginError: there is, but it can not be used.
    """
    known = plugins(kind)
    if name not in known:
        raise UnknownPlugin(
            f"no {kind[:-1]} called {name!r}; there are {', '.join(known)}.{nearest(name, known)} "
            f"`bench list {kind}` shows all."
        )
    if known[name].problem:
        raise PluginError(f"{kind[:-1]} {name!r} can not be used: {known[name].problem}.")
    return known[name]


def load(kind: PluginKind, name: str) -> type[Any]:
    """Import a plug-in and give its class.

    Raises:
        UnknownPlugin: there is none of that name.
        PluginError: it can not be imported, or does not define exactly one concrete class of that name.
    """
    plugin = find(kind, name)
    try:
        module = _import(plugin)
    except Exception as error:  # a plug-in is foreign code: whatever it raises is its problem, told with its name
        raise PluginError(f"{kind[:-1]} {name!r} fails to import: {type(error).__name__}: {error}") from error
    return _only_class(module, plugin, kind)


def add_file(path: Path) -> None:
    """Make the plug-in in a file known by its file's name, as a method or a dataset by what it defines.

    Raises:
        PluginError: there is no such file, it defines neither, or its name is taken.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise PluginError(f"--plugin {str(path)!r}: there is no such file.")
    kinds: tuple[PluginKind, ...] = ("methods", "datasets")
    for kind in kinds:
        if _read(path, module="", origin=str(path), kind=kind).problem is None:
            owner = plugins(kind).get(path.stem)
            if owner and owner.origin != str(path):
                raise PluginError(f"--plugin {str(path)!r}: the name {path.stem!r} is taken by {owner.origin}.")
            _added[kind][path.stem] = path
            return
    raise PluginError(f"--plugin {str(path)!r}: {_read(path, module='', origin='', kind='methods').problem}.")


def _sources(path: Path) -> list[Path]:
    """Give a plug-in's file and the private modules of its folder that it imports, and these import, by name."""
    found = {path}
    waiting = [path]
    while waiting:
        tree = ast.parse(waiting.pop().read_text(encoding="utf-8"))
        names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        beside = {path.parent / f"{name.rpartition('.')[2]}.py" for name in names}
        new = {file for file in beside - found if file.stem.startswith("_") and file.is_file()}
        found |= new
        waiting += new
    return [path, *sorted(found - {path})]


def _built_in(kind: PluginKind) -> Iterator[Plugin]:
    package = importlib.import_module(f"bench.{kind}")
    for folder in package.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            if not path.stem.startswith("_"):
                yield _read(path, module=f"bench.{kind}.{path.stem}", origin="built in", kind=kind)


def _installed(kind: PluginKind) -> Iterator[Plugin]:
    for entry in entry_points(group=f"bench.{kind}"):
        origin = entry.dist.name if entry.dist else entry.value
        try:
            spec = importlib.util.find_spec(entry.module)
        except Exception as error:  # finding a module runs the packages around it, which are foreign code
            yield _broken(entry.name, entry.module, Path(), origin, f"{entry.module} is not there ({error})")
            continue
        if spec is None or spec.origin is None:
            yield _broken(entry.name, entry.module, Path(), origin, f"{entry.module} is not there")
        else:
            yield _read(Path(spec.origin), module=entry.module, origin=origin, kind=kind)


def _files(kind: PluginKind) -> Iterator[Plugin]:
    for path in _added[kind].values():
        yield _read(path, module=f"bench_plugin_{path.stem}", origin=str(path), kind=kind)


@cache
def _read(path: Path, *, module: str, origin: str, kind: PluginKind) -> Plugin:
    """Read a plug-in's literals from its source."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return _broken(path.stem, module, path, origin, f"{path.name} can not be parsed ({error})")
    found = [values for node in tree.body if isinstance(node, ast.ClassDef) if (values := _literals(node))]
    named = [values for values in found if values.get("name") == path.stem and set(values) >= set(_FIELDS)]
    if len(named) != 1 or not _uses(tree, kind):
        want = "Editor" if kind == "methods" else "Dataset"
        problem = f"{path.name} defines no {want} with the literals name = {path.stem!r}, version, source and kinds"
        return _broken(path.stem, module, path, origin, problem)
    values = named[0]
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    kinds = _KINDS if values["kinds"] == "ALL_KINDS" else values["kinds"]
    if not isinstance(kinds, tuple | list) or not set(kinds) <= set(_KINDS):
        problem = f"{path.name} says kinds = {kinds!r}; it must be ALL_KINDS or a tuple of {', '.join(_KINDS)}"
        return _broken(path.stem, module, path, origin, problem)
    if not isinstance(values["version"], int):
        problem = f"{path.name} says version = {values['version']!r}; it must be a whole number"
        return _broken(path.stem, module, path, origin, problem)
    return Plugin(
        name=str(values["name"]),
        version=values["version"],
        source=str(values["source"]),
        kinds=tuple(kinds),
        module=module,
        path=path,
        origin=origin,
        summary=summary,
        card={name: str(values.get(name, "")) for name in CARD} if kind == "datasets" else {},
    )


def _literals(node: ast.ClassDef) -> dict[str, Any]:
    """Give the wanted fields of a class body that are literals, or the name of a constant."""
    values: dict[str, Any] = {}
    for name, value in _assignments(node):
        if name not in (*_FIELDS, *CARD):
            continue
        if isinstance(value, ast.Name):
            values[name] = value.id
            continue
        try:
            values[name] = ast.literal_eval(value)
        except ValueError:
            if name in _FIELDS:
                return {}
    return values


def _assignments(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield `a = x`, `a: T = x` and the pairs of `a, b = x, y`."""
    for line in node.body:
        match line:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                yield name, value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=parts)):
                yield from ((n.id, part) for n, part in zip(names, parts, strict=False) if isinstance(n, ast.Name))


def _uses(tree: ast.Module, kind: PluginKind) -> bool:
    """Say whether a module imports the contract of a kind, or a class made from it."""
    wanted = {"methods": {"Editor", "LearnedEditor"}, "datasets": {"Dataset"}}[kind]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return any(alias.name in wanted for node in imports for alias in node.names)


def _broken(name: str, module: str, path: Path, origin: str, problem: str) -> Plugin:
    return Plugin(
        name=name, version=0, source="", kinds=(), module=module, path=path, origin=origin, summary="", problem=problem
    )


def _import(plugin: Plugin) -> ModuleType:
    if not plugin.module.startswith("bench_plugin_"):
        return importlib.import_module(plugin.module)
    if plugin.module in sys.modules:
        return sys.modules[plugin.module]
    spec = importlib.util.spec_from_file_location(plugin.module, plugin.path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{plugin.path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[plugin.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[plugin.module]
        raise
    return module


def _only_class(module: ModuleType, plugin: Plugin, kind: PluginKind) -> type[Any]:
    where, name = _CONTRACTS[kind]
    contract = getattr(importlib.import_module(where), name)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, contract) and value.__module__ == module.__name__
    ]
    concrete = [value for value in own if not getattr(value, "__abstractmethods__", None)]
    if len(concrete) != 1:
        missing = sorted({m for value in own for m in getattr(value, "__abstractmethods__", ())})
        hint = f"; it lacks {', '.join(missing)}" if missing else ""
        raise PluginError(f"{plugin.path.name} defines {len(concrete)} concrete {name} classes, not one{hint}.")
    return concrete[0]
