/** Evidence files from a server, over rotations and restarts, to readers who have nothing else. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { KeyRole, readEvidence, type SigilConnection } from "@sigil/client";
import { fromHex, parseHash, parsePublicKey, utf8Encode, type Hash } from "../../src/core/bytes.ts";
import { cborDecode, cborEncode, type CborMap } from "../../src/core/cbor/cbor.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { formatVerifierKey } from "../../src/core/merkle/vkey.ts";
import { formatEvidence, parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence, type EvidenceVerdict } from "../../src/core/verify/evidence.ts";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";
import { Council, json, modelWith } from "./council.ts";
import { httpConfig, urlOf } from "./http-caller.ts";
import type { Deployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const genesisOf = async ({ directory }: Pick<Deployment, "directory">): Promise<Hash> => {
  const text = await readFile(join(directory, "deployment.json"), "utf8");
  return parseHash(fromHex((JSON.parse(text) as { readonly genesis: string }).genesis));
};

const decide = async (sigil: SigilConnection, target = "user/notes"): Promise<string> =>
  (await sigil.trust.check({ action: "write", target, input: utf8Encode("some text") })).auditId;

const outcomesOf = ({ steps }: EvidenceVerdict): string =>
  steps.map(({ name, outcome }) => `${name} ${outcome}`).join(", ");

const whole =
  "file passed, genesis passed, keys passed, signature passed, record passed, disclosures passed, " +
  "inclusion passed, checkpoint passed, policy skipped, decision passed, trust passed";

describe("evidence", function () {
  this.slow(10_000);

  it("of a decision holds for a stranger who knows the genesis hash, over rotations, another model and a restart", async () => {
    await using council = await Council.open();
    const genesis = await genesisOf(council.deployment);
    const ids = [await decide(council.as("operator"))];
    await decide(council.as("guest"));
    const rotate = (role: KeyRole) => council.as("root").keys.rotateKey({ role });
    await rotate(KeyRole.KEY_ROLE_RECORD);
    await rotate(KeyRole.KEY_ROLE_CHECKPOINT);
    ids.push(await decide(council.as("operator")));
    const before = await readEvidence(council.as("operator"), { auditId: ids[1] ?? "" });
    const proposed = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 2 }) });
    await council.approve(proposed, "ann", "ben");
    ids.push(await decide(council.as("operator")));
    // The announcement of the second record key is refused on its own from now on, and holds in the walk.
    const { keys } = await council.as("root").keys.listKeys({});
    const { thumbprint = new Uint8Array(0), lastPosition = 0n } = keys[0] ?? {};
    await council.as("root").keys.retireKey({ thumbprint, fromPosition: lastPosition });
    await council.restart();
    const models = new Set<bigint>();
    for (const auditId of ids) {
      const file = await readEvidence(council.as("operator"), { auditId });
      const verdict = await verifyEvidence(file, { genesis }, { verify: verifyForeign });
      expect(outcomesOf(verdict), JSON.stringify(verdict.steps)).to.equal(whole);
      const { record, chain, model, principal, registry, replay } = verdict.findings;
      expect(record?.body.id).to.equal(auditId);
      expect(chain?.request.subject).to.equal("operator");
      expect(principal?.body.id).to.equal("principal/operator");
      expect(registry?.witnesses.map(({ body }) => body.id).sort()).to.deep.equal([
        "witness/ann",
        "witness/ben",
        "witness/cyd",
      ]);
      expect(replay?.outcome).to.equal("partial");
      models.add(model?.position ?? 0n);
      expect(formatEvidence(parseEvidence(file))).to.deep.equal(file);
    }
    expect(models.size).to.equal(2);
    // The same record by the same checkpoint is the same file.
    const { size } = await council.as("guest").audit.getCheckpoint({});
    const again = await readEvidence(council.as("operator"), { auditId: ids[1] ?? "", size });
    expect(again).to.deep.equal(
      await readEvidence(council.as("root"), { auditId: ids[1] ?? "", tenant: "acme" }),
    );
    expect(again).not.to.deep.equal(before);
    const old = (await verifyEvidence(before, { genesis }, { verify: verifyForeign })).findings.checkpoint;
    expect(
      await readEvidence(council.as("operator"), { auditId: ids[1] ?? "", size: old?.size ?? 0n }),
    ).to.deep.equal(before);
  });

  it("shows whole what was kept, without it says what it took as recorded, and refuses another value", async () => {
    await using council = await Council.open();
    const genesis = await genesisOf(council.deployment);
    const input = utf8Encode("some text");
    const asked = { action: "write", target: "user/notes", input, keepInput: true };
    const { auditId } = await council.as("operator").trust.check(asked);
    const file = await readEvidence(council.as("operator"), { auditId });
    const verdictOf = (bytes: Uint8Array): Promise<EvidenceVerdict> =>
      verifyEvidence(bytes, { genesis }, { verify: verifyForeign });
    const shown = (await verdictOf(file)).findings;
    expect(shown.chain?.request.input).to.deep.equal(input);
    expect(shown.replay?.outcome).to.equal("equal");
    const { disclosures, ...hidden } = parseEvidence(file);
    const bare = await verdictOf(formatEvidence(hidden));
    expect(bare.holds).to.equal(true);
    expect(bare.findings.chain?.request).to.include({ inputDigest: null, inputBytes: null, input: null });
    expect(bare.findings.replay?.outcome).to.equal("partial");
    const given = cborDecode(disclosures ?? new Uint8Array(0)) as { readonly input: CborMap };
    const changes: readonly CborMap[] = [
      { value: [new Uint8Array(32), 9] },
      { raw: utf8Encode("more text") },
      { salt: new Uint8Array(32) },
    ];
    for (const change of changes) {
      const other = cborEncode({ input: { ...given.input, ...change } });
      const refused = await verdictOf(formatEvidence({ ...hidden, disclosures: other }));
      expect(refused.steps.find(({ outcome }) => outcome === "failed")?.name).to.equal("disclosures");
    }
    const elsewhere = cborEncode({ output: given.input });
    const moved = await verdictOf(formatEvidence({ ...hidden, disclosures: elsewhere }));
    expect(moved.steps.find(({ outcome }) => outcome === "failed")?.name).to.equal("disclosures");
  });

  it("holds for a record of every kind that a ledger has", async () => {
    await using council = await Council.open();
    const genesis = await genesisOf(council.deployment);
    await council
      .as("operator")
      .canon.writeRecord({ id: "notes/1", kind: "note", content: json({ text: "x" }) });
    await council.approve(await council.proposeAny(), "ann", "ben");
    await council.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_RECORD });
    await decide(council.as("guest"));
    const { reader } = council.served.server.ledger;
    const kinds = new Set<string>();
    for (let position = 0n; position < reader.size; position += 1n) {
      const { hash, body } = await reader.readAt(position);
      const file = await readEvidence(council.as("root"), { hash });
      const verdict = await verifyEvidence(file, { genesis }, { verify: verifyForeign });
      expect(verdict.holds, `${body.kind} ${JSON.stringify(verdict.steps)}`).to.equal(true);
      expect(verdict.findings.record?.position).to.equal(position);
      kinds.add(body.kind);
    }
    expect([...kinds]).to.include.members([
      "genesis",
      "principal",
      "witness",
      "quorum",
      "trust_model",
      "frozen_chain",
      "note",
      "proposal",
      "attestation",
      "schema",
      "signing_key",
    ]);
  });

  it("is for whoever may see the record, and refuses a name that is none", async () => {
    await using council = await Council.open({ otherTenants: ["globex"] });
    const [operator, guest, root] = [council.as("operator"), council.as("guest"), council.as("root")];
    const auditId = await decide(operator);
    const { chain } = await operator.audit.getFrozenChain({ auditId });
    const { hash = new Uint8Array(0) } = chain?.record ?? {};
    const codeOf = async (sigil: SigilConnection, asked: Parameters<typeof readEvidence>[1]) => {
      const { codeName, fieldViolations } = await refusalOf(readEvidence(sigil, asked));
      return [codeName, ...fieldViolations.map(({ field }) => field)].join(" ");
    };
    expect(await codeOf(guest, { auditId })).to.equal("NOT_FOUND");
    expect(await codeOf(guest, { hash })).to.equal("NOT_FOUND");
    expect(await codeOf(guest, { auditId, tenant: "acme" })).to.equal("PERMISSION_DENIED");
    expect(await codeOf(operator, {})).to.equal("INVALID_ARGUMENT audit_id");
    expect(await codeOf(operator, { auditId, hash })).to.equal("INVALID_ARGUMENT hash");
    expect(await codeOf(operator, { tenant: "acme", hash })).to.equal("INVALID_ARGUMENT tenant");
    expect(await codeOf(operator, { auditId, size: 1n })).to.equal("OUT_OF_RANGE");
    expect(await codeOf(operator, { auditId, size: 1_000_000n })).to.equal("OUT_OF_RANGE");
    expect(await codeOf(operator, { auditId, size: 1n, cosigned: true })).to.equal(
      "INVALID_ARGUMENT cosigned",
    );
    expect(await codeOf(operator, { auditId, cosigned: true })).to.equal("INVALID_ARGUMENT cosigned");
    expect(await readEvidence(root, { auditId, tenant: "acme" })).to.have.length.above(0);
  });

  it("comes over HTTP in pieces, as lines of JSON", async () => {
    await using council = await Council.open({}, { config: httpConfig });
    const auditId = await decide(council.as("operator"));
    const { size } = await council.as("guest").audit.getCheckpoint({});
    const token = await council.deployment.signer("operator").token();
    const response = await fetch(`${urlOf(council.served)}/audit/${auditId}/evidence?size=${size}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(response.status).to.equal(200);
    const lines = (await response.text()).trimEnd().split("\n");
    const parsed = lines.map((line) => JSON.parse(line) as { readonly result?: { readonly chunk: string } });
    const pieces = parsed.flatMap(({ result }) => (result === undefined ? [] : [result.chunk]));
    const file = Buffer.concat(pieces.map((chunk) => Buffer.from(chunk, "base64")));
    const { audit } = council.as("operator");
    expect(Uint8Array.from(file)).to.deep.equal(await readEvidence({ audit }, { auditId, size }));
  });
});

describe("evidence on the command line", function () {
  this.slow(5000);
  let [cwd, genesis, auditId] = ["", "", ""];
  let server: Serving | undefined;
  const asOperator = ["--key", "data.keys/operator.pem", "--principal", "operator"];
  const run = (words: readonly string[]): Promise<Ended> =>
    sigilHere(words, { cwd, env: { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" } });

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-evidence-cli-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "evidence.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    const text = await readFile(join(cwd, "data/deployment.json"), "utf8");
    ({ genesis } = JSON.parse(text) as { readonly genesis: string });
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
    const asked = ["check", "--action", "write", "--target", "user/notes", "--json", ...asOperator];
    ({ auditId } = JSON.parse((await run(asked)).output) as { readonly auditId: string });
    const written = await run(["audit", "evidence", auditId, "--output", "decision.sigil", ...asOperator]);
    expect(written.exitCode, written.problems).to.equal(0);
    const { checkpoint, publicKey } = JSON.parse((await run(["audit", "checkpoint", "--json"])).output) as {
      readonly checkpoint: string;
      readonly publicKey: string;
    };
    const log = { name: checkpoint.split("\n")[0] ?? "", use: "log" as const };
    const vkey = formatVerifierKey({ ...log, publicKey: parsePublicKey(Buffer.from(publicKey, "base64")) });
    await writeFile(join(cwd, "log.policy"), `log ${vkey}\nquorum none\n`);
    const file = await readFile(join(cwd, "decision.sigil"));
    await writeFile(join(cwd, "half.sigil"), file.subarray(0, file.length / 2));
    const changed = { ...parseEvidence(file), disclosures: cborEncode({}) };
    await writeFile(join(cwd, "changed.sigil"), formatEvidence(changed));
    // From here on there is no server.
    await server.stop();
    server = undefined;
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("is verified without a server, and says what it proves", async () => {
    for (const trust of [
      ["--genesis", genesis],
      ["--policy", "log.policy"],
    ]) {
      const { exitCode, output, problems } = await run(["verify", "decision.sigil", ...trust]);
      expect(exitCode, output + problems).to.equal(0);
      expect(output).to.match(/^VERIFIED +decision\.sigil\n/);
      for (const line of [
        "decision +passed +equal",
        "subject +operator, operator",
        "target +user/notes",
        "verdict +allow",
      ]) {
        expect(output).to.match(new RegExp(line));
      }
    }
  });

  it("exits with the worst of several files", async () => {
    const table: readonly (readonly [number, readonly string[], string])[] = [
      [1, ["decision.sigil"], "trust    FAILED   it is consistent with itself, and nobody vouches for it"],
      [1, ["decision.sigil", "--genesis", "0".repeat(64)], "genesis      FAILED"],
      [1, ["changed.sigil", "--genesis", genesis], "disclosures  FAILED"],
      [2, ["half.sigil", "--genesis", genesis], "file         FAILED"],
      [
        2,
        ["changed.sigil", "half.sigil", "decision.sigil", "--genesis", genesis],
        "VERIFIED  decision.sigil",
      ],
      [1, ["decision.sigil", "changed.sigil", "--genesis", genesis], "VERIFIED  decision.sigil"],
      [2, ["missing.sigil", "decision.sigil", "--genesis", genesis], "VERIFIED  decision.sigil"],
      [2, [], ""],
      [2, ["decision.sigil", "--policy", "decision.sigil"], ""],
    ];
    for (const [wanted, words, shown] of table) {
      const { exitCode, output } = await run(["verify", ...words]);
      expect(exitCode, `${words.join(" ")}\n${output}`).to.equal(wanted);
      expect(output.replaceAll(/ +/g, " ")).to.include(shown.replaceAll(/ +/g, " "));
    }
  });

  it("prints a line of JSON for each file", async () => {
    const { output } = await run(["verify", "decision.sigil", "half.sigil", "--json", "--genesis", genesis]);
    const [good, bad] = output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    expect(good).to.include({ file: "decision.sigil", verified: true, genesis });
    expect(good).to.have.nested.property("record.id", auditId);
    expect(good).to.have.nested.property("record.payload.verdict", "allow");
    expect(good).to.have.nested.property("replay.outcome", "equal");
    expect(bad).to.include({ file: "half.sigil", verified: false });
    expect(bad).to.have.nested.property("steps[0].outcome", "failed");
  });
});
