/**
 * A council with modules: code from text, taken in, approved by two witnesses and run; and what stands in a run's
 * record.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import {
  LevelOfAccess,
  type ModuleManifest,
  type ProposeModuleRequest,
  type RunRequest,
  type SigilConnection,
} from "@sigil/client";
import { cborDecode, type CborValue } from "../../src/core/cbor/cbor.ts";
import { assemble } from "../hostile/assemble.ts";
import { guest, type GuestText } from "../hostile/guests.ts";
import type { Council } from "./council.ts";

export const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export const operatorLevel = LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR;
const limits = { wallMs: 5000, memoryPages: 64, outputBytes: 4096 };

export type ManifestAsked = Partial<Omit<ModuleManifest, "limits">> & {
  readonly limits?: Partial<NonNullable<ModuleManifest["limits"]>>;
};

/** The parts of an upload, in pieces of 1,000 bytes, or in 64 of them. */
export function* upload(
  name: string,
  code: Uint8Array,
  { limits: some = {}, ...manifest }: ManifestAsked = {},
): Generator<Partial<ProposeModuleRequest>> {
  const value = { name, minLevel: operatorLevel, limits: { ...limits, ...some }, ...manifest };
  yield { part: { $case: "manifest", value: value as ModuleManifest } };
  const pieceBytes = Math.max(1000, Math.ceil(code.length / 64));
  for (let from = 0; from < code.length; from += pieceBytes) {
    yield { part: { $case: "chunk", value: code.subarray(from, from + pieceBytes) } };
  }
}

export const codeOf = (text: GuestText): Uint8Array => assemble(guest(text));

/** Takes the code in and has it approved. @returns its SHA-256. */
export const approve = async (
  council: Council,
  name: string,
  code: Uint8Array,
  asked: ManifestAsked = {},
): Promise<Uint8Array> => {
  const { proposal, digest } = await council.as("mentor").modules.proposeModule(upload(name, code, asked));
  if (proposal === undefined) throw new Error("the answer has no proposal");
  await council.approve(proposal, "ann", "ben");
  return digest;
};

export const codePath = (council: Council, digest: Uint8Array): string =>
  join(council.deployment.directory, "modules", `${hexOf(digest)}.wasm`);

export const json = (value: unknown): NonNullable<RunRequest["input"]> => ({
  $case: "inputJson",
  value: JSON.stringify(value),
});

export type RunRecord = {
  readonly payload: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly label: string; readonly target: Uint8Array }[];
  /** Disclosed values by path. */
  readonly disclosures: Readonly<Record<string, CborValue>>;
};

/** The record of a run, read as an Observer of the caller's tenant. */
export const runRecord = async (
  reader: SigilConnection,
  id: string | undefined,
  tenant = "",
): Promise<RunRecord> => {
  const { record } = await reader.canon.getRecord({ id: id ?? "", tenant });
  const whole = record?.record;
  if (whole === undefined) throw new Error("the run has no record");
  const openings = Object.entries(
    cborDecode(whole.disclosures) as Record<string, { readonly value: CborValue }>,
  );
  return {
    payload: JSON.parse(whole.payloadJson) as RunRecord["payload"],
    links: whole.links,
    disclosures: Object.fromEntries(openings.map(([path, { value }]) => [path, value])),
  };
};

/** What the records of all runs in the reader's tenant say, oldest first. */
export const runsOf = async (reader: SigilConnection): Promise<readonly RunRecord["payload"][]> => {
  const { records } = await reader.canon.listRecords({ filter: { kind: "module_run" }, pageSize: 1000 });
  return records.map(({ record }) => JSON.parse(record?.payloadJson ?? "{}") as RunRecord["payload"]);
};

/** The record of a run may be written after its caller has left. Waits five seconds for so many killed runs. */
export const killedRuns = async (
  reader: SigilConnection,
  count: number,
): Promise<readonly RunRecord["payload"][]> => {
  for (let turn = 0; ; turn += 1) {
    const killed = (await runsOf(reader)).filter(({ end }) => end === "killed");
    if (killed.length >= count || turn === 50) return killed;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

/** Resolves when a run is in a sandbox process; a busy machine takes its time to start one. */
export const runningNow = async ({ served }: Council): Promise<void> => {
  for (let turn = 0; turn < 200; turn += 1) {
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    if (/^sigil_module_runs_under_way 1$/m.test(metrics)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};
