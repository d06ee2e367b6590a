/**
 * The tour's chapter on modules: a small tool runs on the server, but only once two witnesses have approved its digest,
 * and only for those whom the trust model allows. What came of every attempt is a record.
 */
import { sha256 } from "@sigil/core/hash";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  LevelOfAccess,
  ModuleManifest,
  SigilError,
  type Proposal,
  type ProposeModuleRequest,
  type RunResponse,
  type SigilConnection,
} from "@sigil/client";
import { attestationToSign, formatAttestationStatement } from "@sigil/core/quorum";
import { readKeyFile } from "../src/crypto/signing/keyfile.ts";
import { createSigner } from "../src/crypto/signing/sign.ts";
import { equalBytes, toHex } from "@sigil/core/bytes";
import type { Stage } from "./chapter-quorum.ts";

export type ModuleStage = Pick<Stage, "keyDirectory" | "say" | "expect"> & {
  readonly connectAs: (principal: string) => Promise<SigilConnection>;
};

const codePath = join(import.meta.dirname, "../generated/modules/redact.wasm");
const text = "Ask ada@example.com, not bob@example.org.";

/** The manifest, then the code. */
function* upload(code: Uint8Array): Generator<Partial<ProposeModuleRequest>> {
  const value = ModuleManifest.fromPartial({
    name: "redact",
    minLevel: LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR,
    limits: { wallMs: 500, memoryPages: 32, outputBytes: 65_536 },
    reason: "takes e-mail addresses out of texts",
  });
  yield { part: { $case: "manifest", value } };
  yield { part: { $case: "chunk", value: code } };
}

/** What `sigil attest` does after the witness has said yes. */
const sign = async (proposal: Proposal, keyPath: string): Promise<Uint8Array> => {
  const { id, body, epoch, origin } = proposal;
  const { publicKey, privateKey } = await readKeyFile(keyPath);
  const record = sha256(body);
  const attestation = { proposal: id, record, epoch: Number(epoch), verdict: "approve" } as const;
  const toSign = attestationToSign(attestation, { origin, publicKey });
  return formatAttestationStatement(toSign, await createSigner(privateKey).sign(toSign.message));
};

const propose = async (stage: ModuleStage, mentor: SigilConnection): Promise<Proposal> => {
  const code = await readFile(codePath);
  const { proposal, digest } = await mentor.modules.proposeModule(upload(code));
  stage.expect(equalBytes(digest, sha256(code)), "the server has the code that was sent");
  if (proposal === undefined) throw new Error("the server answers without a proposal");
  stage.say(`mentor proposes a tool of ${code.length} bytes, SHA-256 ${toHex(digest).slice(0, 12)}…`);
  return proposal;
};

const run = ({ modules }: SigilConnection): Promise<RunResponse> =>
  modules.run({ name: "redact", input: { $case: "inputJson", value: JSON.stringify({ text }) } });

/** What a principal's run ends with. */
const endOf = async (stage: ModuleStage, principal: string): Promise<string> => {
  using connection = await stage.connectAs(principal);
  try {
    return (await run(connection)).outputJson;
  } catch (error) {
    return SigilError.from(error).codeName;
  }
};

export const showModules = async (stage: ModuleStage): Promise<void> => {
  const { expect, keyDirectory, say } = stage;
  using mentor = await stage.connectAs("mentor");
  const proposal = await propose(stage, mentor);
  const early = await endOf(stage, "operator");
  expect(early === "NOT_FOUND", "code that nobody approved does not run");
  say(`operator runs it at once: ${early}, nobody has approved it`);
  for (const witness of ["witness-1", "witness-2"]) {
    const statement = await sign(proposal, join(keyDirectory, `${witness}.pem`));
    await mentor.canon.attestProposal({ id: proposal.id, statement });
  }
  say("witness-1 and witness-2 sign its digest, its limits and the least level");
  using operator = await stage.connectAs("operator");
  const { outputJson, usage, runId } = await run(operator);
  expect(JSON.parse(outputJson).redacted === 2, "the tool takes both addresses out");
  say(`\noperator: ${text}\n          ${outputJson.trim()}`);
  say(`in a sandbox, ${Number(usage?.cpuUs)} µs of processor; recorded as ${runId}`);
  const denied = await endOf(stage, "guest");
  expect(denied === "PERMISSION_DENIED", "a guest may not run it");
  say(`guest:    ${denied}; the code was not even read, and that too is a record`);
};
