/** The signing keys' contract, kept by files under a key-encryption key. */
import { createSecretKey, randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SigningKeyFiles } from "../../../src/crypto/signing-keys.ts";
import { localKek } from "../../../src/crypto/wrapping/wrap.ts";
import { custodyContract } from "../../contract/custody.ts";

custodyContract("files", async () => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-signing-"));
  await chmod(directory, 0o700);
  const kek = localKek(createSecretKey(randomBytes(32)));
  return {
    open: () => SigningKeyFiles.open({ directory, kek }),
    remove: () => rm(directory, { recursive: true }),
  };
});
