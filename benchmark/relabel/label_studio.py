"""Label Studio: tasks to import, the labelling interface, and the export of what people answered.

Formats after its documentation: "Import pre-annotated data", "Local storage" and "JSON format of annotated tasks".
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from benchmark.errors import BenchmarkError

CONTROL, IMAGE = "label", "image"
"""Names of the group of choices and of the image in the interface."""

LOCAL_FILES = "/data/local-files/?d="
NEXT_STEP = "give a project's export as JSON (not JSON-MIN)"
_ILLEGAL_IN_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


@dataclass(frozen=True)
class Places:
    """Where Label Studio finds the images.

    Attributes:
        document_root: the folder that addresses of images start from.
        storages: the folders below it that hold the images: one local storage each.
    """

    document_root: Path
    storages: tuple[Path, ...]

    def address(self, file: Path) -> str:
        """The address of one image, for a task."""
        return LOCAL_FILES + quote(file.relative_to(self.document_root).as_posix())


def places_of(files: Sequence[Path], pictures: Path) -> Places:
    """The storages of some images, and a folder above them all: a storage must lie below the document root, not be it.

    Args:
        files: absolute paths of the images.
        pictures: the folder of the pictures that the export made; those of ``files`` in it are a storage of their own.
    """
    outside = [file.parent for file in files if file.parent != pictures]
    storages = {pictures} if len(outside) < len(files) else set()
    if outside:
        common = Path(os.path.commonpath(outside))
        at_the_top = common == common.parent
        storages |= {Path(*folder.parts[:2]) for folder in outside} if at_the_top else {common}
    root = Path(os.path.commonpath([storage.parent for storage in storages]))
    return Places(root, tuple(sorted(storages)))


def interface(classes: Sequence[str]) -> str:
    """The labelling interface: the image, what is known of it, and the classes to choose from."""
    choices = "\n".join(f"    <Choice value={quoteattr(_ILLEGAL_IN_XML.sub('�', name))}/>" for name in classes)
    return f"""<View>
  <Header value="given: $given"/>
  <Text name="reason" value="$reason"/>
  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>
  <Choices name="{CONTROL}" toName="{IMAGE}" choice="single" showInline="true">
{choices}
  </Choices>
</View>
"""


def task(row: Mapping[str, Any], address: str, model: str) -> dict[str, Any]:
    """One task, with the suggestion, where there is one, as a pre-annotation.

    Args:
        row: ``set``, ``index``, ``given``, ``suggestion``, ``confidence`` and ``reason``, as in ``answers.csv``.
        address: of the image.
        model: who suggests.
    """
    data = {IMAGE: address, **{name: row[name] for name in ("set", "index", "given", "reason")}}
    if row["suggestion"] is None:
        return {"data": data}
    result = {
        "id": f"suggestion-{row['index']}",
        "type": "choices",
        "from_name": CONTROL,
        "to_name": IMAGE,
        "value": {"choices": [row["suggestion"]]},
    }
    score = {} if row["confidence"] is None else {"score": row["confidence"]}
    return {"data": data, "predictions": [{"model_version": model, **score, "result": [result]}]}


@dataclass(frozen=True)
class Annotation:
    """What one person chose for one task.

    Attributes:
        where: place in the file, for messages.
        data: of the task.
        choices: the classes chosen; none where the task was skipped or left empty.
        who: an e-mail address or the number of a user; empty where the export does not say.
        when: ISO 8601, empty likewise.
    """

    where: str
    data: dict[str, Any]
    choices: tuple[str, ...]
    who: str
    when: str


def read_export(path: Path) -> list[Annotation]:
    """What people answered: one entry an annotation, and one without choices for a task without any.

    Raises:
        BenchmarkError: it cannot be read or is no export of Label Studio.
    """
    try:
        tasks = json.loads(path.read_bytes())
    except OSError as error:
        raise BenchmarkError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path.name} is no JSON: {error}; {NEXT_STEP}") from error
    if not isinstance(tasks, list) or not all(isinstance(entry, dict) and isinstance(entry.get("data"), dict) for entry in tasks):
        raise BenchmarkError(f"{path.name} is no export of Label Studio: it is no list of tasks with data; {NEXT_STEP}")
    try:
        return [annotation for entry in tasks for annotation in _annotations(path.name, entry)]
    except (TypeError, AttributeError, KeyError) as error:
        raise BenchmarkError(f"{path.name} is no export of Label Studio: {type(error).__name__}: {error}; {NEXT_STEP}") from error


def _annotations(name: str, entry: dict[str, Any]) -> Iterator[Annotation]:
    where = f"{name}, task {entry.get('id', entry['data'].get('index', '?'))}"
    annotations = entry.get("annotations") or []
    for annotation in annotations:
        results = [] if annotation.get("was_cancelled") else annotation.get("result") or []
        chosen = [choice for result in results if result.get("type") == "choices" for choice in result["value"]["choices"]]
        when = annotation.get("updated_at") or annotation.get("created_at") or ""
        yield Annotation(where, entry["data"], tuple(map(str, chosen)), _user(annotation.get("completed_by")), str(when))
    if not annotations:
        yield Annotation(where, entry["data"], (), "", "")


def _user(completed_by: Any) -> str:
    """A user's number, or, from exports that say more, the e-mail address."""
    if isinstance(completed_by, dict):
        return str(completed_by.get("email") or completed_by.get("username") or completed_by.get("id") or "")
    return "" if completed_by is None else f"user {completed_by}"


def readme(places: Places, command: str) -> str:
    """``README.txt``: how to serve the images and hand the answers back.

    Args:
        places: where the images are.
        command: the import's, without its files.
    """
    storages = "\n".join(f"     {storage}" for storage in places.storages)
    return f"""Two ways to answer; both lead to the same import.

A. A spreadsheet
   Open answers.csv, look at the image that "path" names (or at gallery.html), and write the right class, by its name, into
   "answer"; also where it is the given one. Leave "answer" empty where you cannot tell. Save as CSV UTF-8. Do not change the other
   columns; "annotator" and "note" are yours.

B. Label Studio
   1. Start it on the machine where the images are:

     export LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true
     export LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(str(places.document_root))}
     label-studio start

   2. Create a project. Settings > Labeling Interface > Code: paste label-studio.xml.
   3. Settings > Cloud Storage > Add Source Storage > Local Files, with the absolute local path below, "treat every bucket object as
      a source file" off. Add it, but do not sync: the storage only allows the images to be shown. One storage for each of:

{storages}

   4. Import label-studio.json on the project's page. The suggestions are there as predictions.
   5. When all is answered: Export > JSON (not JSON-MIN). Skipped tasks count as unanswered.

Then:

     {command}
"""
