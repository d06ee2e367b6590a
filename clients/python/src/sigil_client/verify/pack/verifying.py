"""Verifies an evidence pack in named steps, from the pack alone and from what its reader trusts.

Source: docs/spec/pack.md §8. Reads each file twice, and holds no decision.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import ProofError
from ..evidence.grounds import Noted, Trust, take_checkpoint, take_keys, take_trust
from ..evidence.steps import Step, StepList, counted, refuse
from ..limits import CBOR_ENTRIES_MAX, CONTROLS_WRITTEN_BYTES_MAX, PACK_MANIFEST_BYTES_MAX
from .callers import check_callers
from .content import PackContent, read_key_records, signed_items
from .controls import Control, parse_controls
from .manifest import MANIFEST_NAME, Manifest, parse_manifest
from .reading import PackFolder, PackRefused, in_step
from .sparse_tree import SparseTree

PACK_STEPS: Final = (
    "manifest",
    "files",
    "genesis",
    "keys",
    "lines",
    "signature",
    "record",
    "disclosures",
    "inclusion",
    "checkpoint",
    "policy",
    "decision",
    "completeness",
    "table",
    "controls",
    "trust",
)
"""In order. Those from `lines` to `disclosures` are taken together, record by record."""


@dataclass
class PackFindings:
    """What the pack shows, as far as its steps held. Nothing of it counts unless all of them do."""

    manifest: Manifest | None = None
    controls: tuple[Control, ...] | None = None
    cosigned: tuple[str, ...] | None = None
    """Names of the policy's witnesses that cosigned."""


@dataclass(frozen=True)
class PackVerdict:
    """What a verification came to. True only if every step holds; gaps that are named are no failure."""

    steps: tuple[Step, ...]
    findings: PackFindings
    holds: bool

    def __bool__(self) -> bool:
        return self.holds

    @property
    def failed(self) -> Step | None:
        """The step that refused; None if all hold."""
        return next((step for step in self.steps if step.outcome == "failed"), None)

    def require(self) -> PackFindings:
        """What was found, if every step holds. Raises ProofError naming the step that does not."""
        if not self.holds:
            failed = self.failed
            raise ProofError("not verified" if failed is None else f"{failed.name}: {failed.detail}")
        return self.findings


class _Proof:
    """Hashes of the file `proof`, as the tree asks for them."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.hashes = 0

    def read(self) -> bytes:
        node = self._source.read(32)
        if len(node) < 32:
            refuse("the proof ends before the tree does")
        self.hashes += 1
        return node

    def require_over(self) -> None:
        if self._source.read(1) != b"":
            refuse("the proof goes on after the tree")


def _check_files(folder: PackFolder, manifest: Manifest) -> int:
    """Step `files`. Gives their bytes."""
    known = {MANIFEST_NAME, *(file.name for file in manifest.files)}
    names = folder.names()
    for name in names:
        if name not in known:
            refuse(f"{name} is none of the pack's files")
    for file in manifest.files:
        if file.name not in names:
            refuse(f"{file.name} is missing")
    for file in manifest.files:
        length, sha256 = folder.digest(file.name)
        if length != file.length:
            refuse(f"{file.name} has {length} bytes, the manifest says {file.length}")
        if sha256 != file.sha256:
            refuse(f"{file.name} has the SHA-256 {sha256}, the manifest says {file.sha256}")
    return sum(file.length for file in manifest.files)


def verify_pack(path: Path, trust: Trust) -> PackVerdict:
    """Never raises on what a pack holds. Raises OSError for what cannot be read."""
    steps, findings = StepList(PACK_STEPS), PackFindings()
    try:
        with ExitStack() as files:
            _Verifying(PackFolder(path), trust, steps, findings, files).run()
    except PackRefused as refused:
        steps.refuse(refused.rule, refused.step)
    except ProofError as error:
        steps.refuse(str(error))
    return PackVerdict(tuple(steps.steps), findings, steps.holds)


@dataclass
class _Verifying:
    folder: PackFolder
    trust: Trust
    steps: StepList
    findings: PackFindings
    files: ExitStack

    def run(self) -> None:
        folder, steps = self.folder, self.steps
        manifest = steps.take("manifest", self._manifest_step)
        self.findings.manifest = manifest

        def files_step() -> tuple[None, str]:
            total = _check_files(folder, manifest)
            return None, f"{counted(len(manifest.files), 'file')}, {total} bytes"

        steps.take("files", files_step)
        controls = self._read_controls(manifest)
        of_keys = read_key_records(folder, CBOR_ENTRIES_MAX)
        if of_keys and of_keys[0].position == 0 and of_keys[0].hash != manifest.genesis:
            refuse("the manifest names another genesis record")
        _, ring = take_keys(steps, of_keys, manifest.origin, self.trust.genesis)
        proof = _Proof(self._open("proof"))
        tree = SparseTree(proof.read)
        rows = None if controls is None else (controls, self._open("controls.csv"))
        content = PackContent(manifest, tree, self._open("decisions.csv"), rows)
        for line, opened in signed_items(folder, manifest.tree.size, ring):
            content.add(line, opened)
        content.end()
        self._pass_records(content)

        def inclusion_step() -> tuple[None, str]:
            root = tree.close(manifest.tree.size)
            proof.require_over()
            if root != manifest.tree.root:
                said = manifest.tree.root.hex()
                refuse(f"records and proof lead to the root {root.hex()}, the checkpoint's is {said}")
            size = manifest.tree.size
            return None, f"all in the tree of {size}, with {proof.hashes} hashes between them"

        steps.take("inclusion", inclusion_step)
        noted = Noted(manifest.origin, manifest.checkpoint, manifest.tree)
        self.findings.cosigned = take_checkpoint(steps, ring, noted, self.trust.policy)
        self._conclude(manifest, content)

    def _open(self, name: str) -> BinaryIO:
        return self.files.enter_context(self.folder.open(name))

    def _manifest_step(self) -> tuple[Manifest, str]:
        manifest = parse_manifest(self.folder.text(MANIFEST_NAME, PACK_MANIFEST_BYTES_MAX))
        return manifest, f"{counted(manifest.decisions, 'decision')} of {manifest.tenant}, by {manifest.tool}"

    def _read_controls(self, manifest: Manifest) -> tuple[Control, ...] | None:
        if all(file.name != "controls.json" for file in manifest.files):
            return None
        folder = self.folder
        self.findings.controls = in_step(
            "controls", lambda: parse_controls(folder.text("controls.json", CONTROLS_WRITTEN_BYTES_MAX))
        )
        return self.findings.controls

    def _pass_records(self, content: PackContent) -> None:
        """Steps `lines` to `disclosures`, which were taken together."""
        count = content.decisions + content.records
        self.steps.passed("lines", f"{count} in the order of the ledger")
        self.steps.passed("signature", counted(count, "record"))
        self.steps.passed("record", f"{counted(content.decisions, 'decision')}, {content.records} others")
        if content.disclosed == 0:
            self.steps.skip("disclosures", "there are none")
        else:
            self.steps.passed("disclosures", f"of {counted(content.disclosed, 'decision')}")

    def _conclude(self, manifest: Manifest, content: PackContent) -> None:
        """Steps `decision` to `trust`."""
        steps = self.steps

        def unless_broken(step: str) -> None:
            if step in content.broken:
                refuse(content.broken[step])

        def decision_step() -> tuple[None, str]:
            unless_broken("decision")
            counts = f"{content.equal} equal, {content.partial} partial"
            return None, f"{counts}: what was not disclosed is taken as recorded"

        def completeness_step() -> tuple[None, str]:
            callers, gaps = check_callers(self.folder, manifest, content)
            return None, f"numbers of {counted(callers, 'caller')}, {counted(gaps, 'gap')} named"

        def table_step() -> tuple[None, str]:
            unless_broken("table")
            return None, "decisions.csv says what the records say"

        def controls_step() -> tuple[None, str]:
            unless_broken("controls")
            said, found = self.findings.controls or (), content.controls
            for control, count in zip(said, found.counts if found else (), strict=True):
                if control.decisions != count:
                    refuse(f"{count} decisions match {control.id}, it says {control.decisions}")
            return (
                None,
                f"{counted(len(said), 'control')} of a mapping that the user wrote: no claim that one is met",
            )

        steps.take("decision", decision_step)
        steps.take("completeness", completeness_step)
        steps.take("table", table_step)
        if content.controls is None:
            steps.skip("controls", "there are none")
        else:
            steps.take("controls", controls_step)
        take_trust(steps, self.trust)
