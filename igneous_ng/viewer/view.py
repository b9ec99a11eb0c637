"""``igneous-ng view``: serve layers with the Neuroglancer client, or take a picture of them."""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import json
import mmap
import re
import threading
import urllib.error
import urllib.request
import webbrowser
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.viewer import screenshot as camera
from igneous_ng.viewer.doors import HOST, Door
from igneous_ng.viewer.server import CLIENT, Answer, LayerServer, stored
from igneous_ng.viewer.state import Shown, is_segmentation, state, unique_names

_STATE = "/state.json"
_SHARDS = 64
_MANY = 10  # segments that a 3-D panel shows at once and a person tells apart
_MANIFESTS = 2000  # manifests read to find the largest meshes; the folder may hold millions
_TIMEOUT = 30.0  # seconds, for the info file of a remote layer


def view(  # noqa: PLR0913  (the command's options, one each)
    layers: list[str],
    *,
    port: int = 0,
    segments: tuple[int, ...] = (),
    screenshot: Path | None = None,
    open_browser: bool = False,
    host: str = HOST,
    cors: tuple[str, ...] = (),
    graphs: list[str] | None = None,
    remaps: list[str] | None = None,
    announce: Callable[[str], None],
) -> None:
    """Show ``layers`` (canonical URLs) in Neuroglancer, until interrupted; ``announce`` gets the view's URL.

    On another ``host`` than loopback that URL has a token, without which nothing is answered. Pages of the origins
    ``cors`` may read, too.

    Layers on ``file://`` are served from here, those on ``http(s)://`` are read by the browser itself.
    ``segments`` are the labels to select; without any, some that have a mesh or a skeleton. Of layers, ``graphs`` and
    ``remaps``, which are tables of labels, it also answers questions (:mod:`igneous_ng.viewer.endpoints`). With
    ``screenshot``, write a PNG picture there and return. SpecError for what cannot be served, DataError
    for a layer that is no Precomputed volume, ScreenshotUnavailable without Chromium.
    """
    if screenshot is not None:
        camera.programs()
        if not screenshot.absolute().parent.is_dir():
            raise SpecError(f"{screenshot}: there is no folder {screenshot.absolute().parent}; make it first")
    asked, door = Asked(graphs or [], remaps or []), Door(host, cors)
    with serving(layers, port=port, segments=segments, door=door, asked=asked) as url:
        announce(url)
        if screenshot is not None:
            hosts = [urlsplit(layer).hostname or "" for layer in layers if _is_remote(layer)]
            camera.write_png(screenshot, camera.capture(url, len(layers), hosts))
            return
        with contextlib.suppress(KeyboardInterrupt):
            if open_browser:
                webbrowser.open(url)
            threading.Event().wait()


@dataclass(frozen=True)
class Asked:
    """URLs of what is served for questions alone: graphs, and tables of labels."""

    graphs: Sequence[str] = ()
    remaps: Sequence[str] = ()


@contextlib.contextmanager
def serving(
    layers: list[str],
    *,
    port: int = 0,
    segments: tuple[int, ...] = (),
    door: Door | None = None,
    asked: Asked | None = None,
) -> Iterator[str]:
    """Serve ``layers``, their state and the client while the block runs; yields the view's URL."""
    client = client_folder()
    infos = [_info(layer) for layer in layers]
    chosen = [_segments(layer, info, segments) for layer, info in zip(layers, infos, strict=True)]
    if segments and not any(map(is_segmentation, infos)):
        raise SpecError(f"segments {segments} asked, but no layer is a segmentation; name one, or leave them out")
    mounts = {_mount(i): _folder(layer) for i, layer in enumerate(layers) if not _is_remote(layer)}
    with LayerServer(mounts, port, door) as server:
        local = [f"{server.url}{_mount(i)}".rstrip("/") for i in range(len(layers))]
        sources = [layer if _is_remote(layer) else own for layer, own in zip(layers, local, strict=True)]
        rows = zip(unique_names(layers), sources, infos, chosen, strict=True)
        server.publish(_STATE, json.dumps(state([Shown(*row) for row in rows])).encode())
        server.publish_client(client)
        server.answer = _answering(layers, asked or Asked())
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="viewer")
        thread.start()
        try:
            # A state in the URL itself sometimes loses its first layer while the page loads.
            entry = f"/?token={server.door.token}" if server.door.token else CLIENT
            yield f"{server.url}{entry}#!{server.url}{_STATE}"
        finally:
            server.shutdown()
            thread.join()


def _answering(layers: list[str], asked: Asked) -> Answer:
    """Answers questions about what is served; what that takes is imported when the first one is asked."""

    @functools.cache
    def answers() -> Answer:
        from igneous_ng.viewer.endpoints import Answers  # it imports numpy: a server that is asked nothing does without

        def named(urls: Sequence[str]) -> dict[str, str]:
            return dict(zip(unique_names(urls), urls, strict=True))

        return Answers(named(layers), named(asked.graphs), named(asked.remaps)).answer

    return lambda name, query: answers()(name, query)


def client_folder() -> Path:
    """The built Neuroglancer client, found in its wheel without importing it: only its files are used."""
    spec = importlib.util.find_spec("neuroglancer")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "static" / "client"
        if (folder / "index.html").is_file():
            return folder
    raise SpecError("the Neuroglancer client is not installed; install it with: pip install neuroglancer")


def labels_to_show(layer: Path, info: dict[str, Any]) -> tuple[int, ...]:
    """Up to ten labels with the largest meshes, or else skeletons, of a layer's folder; ties to the smaller.

    Sizes of legacy meshes are summed over the fragments of the first 2,000 manifests; of shards the first 64 are looked
    into, where a mesh counts as large as its manifest.
    """
    for key, sizes in (("mesh", _mesh_sizes), ("skeletons", _skeleton_sizes)):
        folder = layer / str(info.get(key) or "")
        if info.get(key) and folder.is_dir():
            found = sizes(folder) or _sharded_sizes(folder)
            if found:
                return tuple(sorted(sorted(found, key=lambda label: (-found[label], label))[:_MANY]))
    return ()


def _mount(index: int) -> str:
    return f"/layers/{index}/"


def _is_remote(layer: str) -> bool:
    return layer.startswith(("http://", "https://"))


def _folder(layer: str) -> Path:
    """The folder of a local layer; SpecError for another scheme and where there is none."""
    if not layer.startswith("file://"):
        raise SpecError(
            f"{layer}: only file:// layers are served, and http(s):// ones are read by the browser; copy "
            "the layer to a folder, or name its https:// address if the bucket is public and allows CORS"
        )
    folder = Path(layer.removeprefix("file://"))
    if not folder.is_dir():
        raise SpecError(f"{layer}: there is no such folder; name the one that holds the layer's info file")
    return folder


def _info(layer: str) -> dict[str, Any]:
    """The parsed ``info`` file of a layer."""
    content = _fetch(f"{layer}/info") if _is_remote(layer) else _read(_folder(layer) / "info")
    if content is None:
        raise DataError(f"{layer}: it has no info file that can be read; is this the layer's own folder?")
    try:
        info = json.loads(content)
    except ValueError as error:
        raise DataError(f"{layer}/info: not JSON ({error}); write it again") from error
    if not isinstance(info, dict):
        raise DataError(f"{layer}/info: holds a {type(info).__name__}, not an object; write it again")
    return info


def _segments(layer: str, info: dict[str, Any], asked: tuple[int, ...]) -> tuple[int, ...]:
    for label in asked:
        if not 0 < label < 2**64:
            raise SpecError(f"segment {label} is no label; labels are from 1 to 2^64 - 1")
    if not is_segmentation(info):
        return ()
    if asked or _is_remote(layer):
        return asked
    return labels_to_show(_folder(layer), info)


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310  (http or https: see _is_remote)
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"{url} cannot be read ({error}); check the address") from error
    except OSError as error:
        raise TransientError(f"{url} cannot be read ({error}); check that it is up, and try again") from error


def _read(path: Path) -> bytes | None:
    """The content of a stored object, None where there is none."""
    found = stored(path)
    if found is None or found[1] in ("br", "zstd"):
        return None
    content = found[0].read_bytes()
    try:
        return gzip.decompress(content) if found[1] else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{found[0]}: not a whole gzip stream ({error}); write it again") from error


def _names(folder: Path, pattern: str) -> list[int]:
    """The labels, sorted, of the objects whose name is ``pattern`` (one group: the label)."""
    name = re.compile(pattern + r"(?:\.gz|\.br|\.zstd)?")
    found = (name.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted({int(match[1]) for match in found if match and int(match[1])})


def _mesh_sizes(folder: Path) -> dict[int, int]:
    """Bytes of each label's mesh, of legacy fragments or of the multi-resolution format."""
    multi = {label: _size(folder / str(label)) for label in _names(folder, r"([0-9]+)\.index")}
    legacy = {label: _fragments(folder, label) for label in _names(folder, r"([0-9]+):0")[:_MANIFESTS]}
    return {label: size for label, size in {**legacy, **multi}.items() if size}


def _sharded_sizes(folder: Path) -> dict[int, int]:
    """Bytes of what the shards of ``folder`` hold by label, if it is sharded."""
    raw = _read(folder / "info")
    try:
        described = json.loads(raw).get("sharding") if raw else None
    except (ValueError, AttributeError) as error:
        raise DataError(f"{folder}/info: not a description in JSON ({error}); merge again") from error
    if described is None:
        return {}
    from igneous_ng.formats import sharding  # it imports numpy: a server that shows no shards does without

    spec, sizes = sharding.Spec.parse(described), {}
    for path in sorted(folder.glob("*.shard"))[:_SHARDS]:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for label, (start, stop) in sharding.all_spans(spec, int(path.stem, 16), data, str(path)).items():
                sizes[label] = stop - start
    return sizes


def _skeleton_sizes(folder: Path) -> dict[int, int]:
    return {label: _size(folder / str(label)) for label in _names(folder, "([0-9]+)")}


def _fragments(folder: Path, label: int) -> int:
    """Bytes of the fragments that a legacy manifest names; 0 where it cannot be read."""
    try:
        manifest = json.loads(_read(folder / f"{label}:0") or b"{}")
        return sum(_size(folder / name) for name in manifest.get("fragments", ()))
    except (DataError, ValueError, TypeError, AttributeError):
        return 0


def _size(path: Path) -> int:
    found = stored(path)
    return found[0].stat().st_size if found else 0
