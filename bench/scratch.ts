/**
 * A temporary deployment: its directory, its operator's key, and how the benchmarks open it. Should be on a real disk:
 * free syncs would distort every number.
 */
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { openChain } from "../src/audit/chain.ts";
import { describeDeployment, initDeployment, openDeployment } from "../src/deployment/open.ts";
import type { Caller } from "../src/identity/caller.ts";
import { createKekFile } from "../src/crypto/kek.ts";
import { randomBytes } from "../src/crypto/random.ts";
import { rawPublicKey } from "../src/crypto/signing/sign.ts";
import type { Ledger, LedgerOptions } from "../src/ledger/ledger.ts";
import type { VerifiedRecord } from "../src/ledger/read/examine.ts";
import type { CborMap } from "@sigil/core/cbor";
import type { LevelName, RecordBody } from "@sigil/core/record";
import { createDecisionIds } from "../src/trust/decision-id.ts";
import type { CheckQuestion } from "../src/trust/decision.ts";
import { defaultModelPayload } from "../src/trust/default-model.ts";
import { evaluate } from "@sigil/core/model";
import { createTrustService } from "../src/trust/service.ts";

/** Passed to the processes unchanged. */
export type Scratch = {
  readonly directory: string;
  readonly origin: string;
  readonly principal: string;
  readonly tenant: string;
  /** PKCS #8 PEM. */
  readonly privateKey: string;
  /** Of the first Root, who may back up. */
  readonly rootPrivateKey: string;
};

const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("there is no passphrase")) };

const newPrivateKey = (): string =>
  generateKeyPairSync("ed25519", {
    privateKeyEncoding: { format: "pem", type: "pkcs8" },
    publicKeyEncoding: { format: "pem", type: "spki" },
  }).privateKey;

const newPublicKey = () => rawPublicKey(generateKeyPairSync("ed25519").privateKey);

/**
 * @param directory existing parent of the new deployment. @param loa level of the calling principal: at benchmark rates
 * the default model lets an Operator write but not run code.
 */
export const makeScratch = async (
  directory: string,
  name: string,
  loa: LevelName = "operator",
): Promise<Scratch> => {
  // LevelDB creates files by the umask, and a start refuses files that others may read.
  process.umask(0o077);
  const [privateKey, rootPrivateKey] = [newPrivateKey(), newPrivateKey()];
  const publicKey = rawPublicKey(createPrivateKey(privateKey));
  const rootPublicKey = rawPublicKey(createPrivateKey(rootPrivateKey));
  const scratch = {
    directory: join(directory, name),
    origin: "bench.sigil.example",
    principal: "orders-backend",
    tenant: "acme",
    privateKey,
    rootPrivateKey,
  };
  const kekPath = join(directory, `${name}.kek`);
  await createKekFile(kekPath);
  await initDeployment({
    directory: scratch.directory,
    origin: scratch.origin,
    root: { id: "root", publicKeys: [rootPublicKey], loa: "root", tenant: "system", active: true },
    principals: [
      {
        id: scratch.principal,
        publicKeys: [publicKey],
        loa,
        tenant: scratch.tenant,
        active: true,
      },
    ],
    witnesses: [{ id: "alice", publicKey: newPublicKey(), owner: "Alice", authority: "", description: "" }],
    k: 1,
    model: defaultModelPayload,
    kekSource: { kind: "file", path: kekPath },
    kekInputs,
    nowMs: Date.now,
  });
  return scratch;
};

export const openScratch = ({ directory }: Scratch): Promise<Ledger> =>
  openDeployment({ directory, kekInputs, nowMs: Date.now });

/** The ledger's keys and options, without opening its store. */
export const describeScratch = ({ directory }: Scratch): Promise<LedgerOptions> =>
  describeDeployment({ directory, kekInputs, nowMs: Date.now });

/** The check used by every benchmark. */
export const question = { action: "write", target: "user/notes/shopping", session: "5f1c" } as const;

/** Questions of a batch. */
export const batchItems = 100;

/** A decision's record as made by the server, from one check, with what is kept beside it. */
export const sampleRecord = async (
  scratch: Scratch,
  ledger: Ledger,
): Promise<Pick<VerifiedRecord, "body" | "disclosures">> => {
  const trust = await createTrustService({
    ledger,
    findPrincipal: async () => undefined,
    openChain,
    evaluate,
    nowMs: Date.now,
    nowUs: () => performance.now() * 1000,
    randomBytes,
  });
  const { principal, tenant } = scratch;
  const caller: Caller = { principal, tenant, level: "operator", credential: "token", peer: "" };
  const asked: CheckQuestion = {
    ...question,
    subject: "",
    input: new Uint8Array(0),
    keepInput: false,
    idempotencyKey: "",
  };
  const call = {
    signal: new AbortController().signal,
    deadlineMs: 10_000,
    metadata: { request_id: "5e4a2a9e-52f4-4d37-a4ab-9a1d0c9d2f11" },
  };
  const { position } = await trust.check(caller, asked, call);
  return ledger.reader.readAt(position);
};

export const sampleBody = async (scratch: Scratch, ledger: Ledger): Promise<RecordBody> =>
  (await sampleRecord(scratch, ledger)).body;

/** Generates new decisions like the sample. */
export const bodiesLike = (sample: RecordBody): (() => RecordBody) => {
  const nextId = createDecisionIds(randomBytes);
  return () => {
    const ts = Date.now();
    return { ...sample, id: nextId(ts), ts };
  };
};

const variedCallers = 50;

/** The same as if other callers had made them, and every tenth another tenant's. */
export const variedLike = (sample: RecordBody): (() => RecordBody) => {
  const next = bodiesLike(sample);
  const { request, ...payload } = sample.payload as CborMap & { readonly request: CborMap };
  let made = 0;
  return () => {
    made += 1;
    const who = `svc-${made % variedCallers}`;
    const tenant = made % 10 === 0 ? "globex" : sample.tenant;
    return { ...next(), tenant, payload: { ...payload, request: { ...request, caller: who, subject: who } } };
  };
};
