/**
 * Real PKCS #11 tokens for tests: SoftHSM2's library, its tokens in a directory of the test's own. In this process one
 * directory at a time, since the library reads where it is when it is initialised.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Context } from "mocha";
import { holdTokens } from "../../src/crypto/pkcs11/token.ts";

const run = promisify(execFile);

const places = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib64/softhsm/libsofthsm2.so",
  "/usr/local/lib/softhsm/libsofthsm2.so",
];
const library = places.find((path) => existsSync(path));

const whyNot = (): string | undefined => {
  if (library === undefined) return "SoftHSM2 is not here: scripts/services.sh install softhsm";
  try {
    createRequire(import.meta.url)("pkcs11js");
    return undefined;
  } catch {
    return "the package pkcs11js was not built here: it takes a C++ compiler, make and Python";
  }
};

/** For a hook: skips what follows where there is no token to be had, and says why. */
export const skipWithoutToken = (context: Context): void => {
  const why = whyNot();
  if (why === undefined) return;
  console.log(`      skipped: ${why}`);
  context.skip();
};

export type SoftHsm = {
  /** For processes that are to see its tokens. */
  readonly env: Readonly<Record<string, string>>;
  readonly library: string;
  /** How many objects lie on its tokens. */
  readonly objects: () => Promise<number>;
  /** Counts for whoever opens the library after it. */
  readonly setMechanisms: (mechanisms: string) => Promise<void>;
  readonly remove: () => Promise<void>;
};

/** @param tokens PIN by label. */
type Wanted = { readonly tokens: Readonly<Record<string, string>> };

/** Tokens that are initialised and have their PIN, and nothing else on them. */
const makeSoftHsm = async ({ tokens }: Wanted): Promise<SoftHsm> => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-softhsm-"));
  const conf = join(directory, "softhsm2.conf");
  await mkdir(join(directory, "tokens"), { mode: 0o700 });
  /** As softhsm2.conf says it: ALL, or those that there are not after a minus. */
  const setMechanisms = async (mechanisms: string): Promise<void> => {
    const lines = [
      `directories.tokendir = ${join(directory, "tokens")}`,
      "objectstore.backend = file",
      "log.level = ERROR",
      `slots.mechanisms = ${mechanisms}`,
    ];
    await writeFile(conf, `${lines.join("\n")}\n`, { mode: 0o600 });
  };
  await setMechanisms("ALL");
  const path = library ?? "";
  const env = { SOFTHSM2_CONF: conf, SIGIL_PKCS11_MODULE: path };
  for (const [label, pin] of Object.entries(tokens)) {
    const words = ["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-pin"];
    await run("softhsm2-util", words, { env: { ...process.env, ...env } });
  }
  const objects = async (): Promise<number> => {
    const names = await readdir(join(directory, "tokens"), { recursive: true });
    // Beside the objects each token has one file of its own.
    return names.filter((name) => name.endsWith(".object") && !name.endsWith("token.object")).length;
  };
  return { env, library: path, objects, setMechanisms, remove: () => rm(directory, { recursive: true }) };
};

/** The same for this process, until it is removed; the library is closed by whoever lets go of it last. */
export const useSoftHsm = async (wanted: Wanted): Promise<SoftHsm> => {
  const made = await makeSoftHsm(wanted);
  process.env["SOFTHSM2_CONF"] = made.env["SOFTHSM2_CONF"];
  return {
    ...made,
    remove: async () => {
      await holdTokens()[Symbol.asyncDispose]();
      delete process.env["SOFTHSM2_CONF"];
      await made.remove();
    },
  };
};
