/** A real deployment in a separate directory, for processes that will be killed. */
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import type { PublicKey } from "@sigil/core/bytes";
import { initDeployment, type InitOptions, type OpenOptions } from "../../src/deployment/open.ts";
import { createKekFile } from "../../src/crypto/kek.ts";
import { rawPublicKey } from "../../src/crypto/signing/sign.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";

const newPublicKey = () => rawPublicKey(generateKeyPairSync("ed25519").privateKey);

const kekInputs = { env: {}, askPassphrase: () => Promise.resolve(new Uint8Array(0)) };

/** The data directory, beside its key-encryption key in `root`. */
export const dataDirectory = (root: string): string => join(root, "data");

export const createDeployment = async (
  root: string,
  {
    rootKey = newPublicKey(),
    ...changes
  }: Partial<Pick<InitOptions, "kekSource" | "custody" | "kekInputs"> & { readonly rootKey: PublicKey }> = {},
): Promise<void> => {
  process.umask(0o077);
  const kekPath = join(root, "kek");
  await createKekFile(kekPath);
  await initDeployment({
    directory: dataDirectory(root),
    origin: "sigil.campaign",
    root: { id: "root", publicKeys: [rootKey], loa: "root", tenant: "system", active: true },
    principals: [],
    witnesses: [{ id: "w1", publicKey: newPublicKey(), owner: "a", authority: "", description: "" }],
    k: 1,
    model: defaultModelPayload,
    kekSource: { kind: "file", path: kekPath },
    kekInputs,
    nowMs: Date.now,
    ...changes,
  });
};

export const openOptions = (root: string): OpenOptions => ({
  directory: dataDirectory(root),
  kekInputs,
  nowMs: Date.now,
});
