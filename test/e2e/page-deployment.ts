/**
 * What pages for operators take for granted: keys by name, a deployment that knows them, witnesses who attest, a
 * module.
 */
import { writeFile } from "node:fs/promises";
import { codeOf } from "./modules.ts";
import type { Stage } from "./page.ts";

export const asRoot = "--key root.pem --principal root";
export const proposalIn = (output: string): string | undefined => /proposal\/[0-9a-f-]{36}/.exec(output)?.[0];
export const genesisIn = (output: string): string => /\b[0-9a-f]{64}\b/.exec(output)?.[0] ?? "";

/** A key for each name, and a deployment that knows them. @returns the genesis hash. */
export const found = async (
  stage: Stage,
  {
    data = "data",
    witnesses,
    k = 1,
    principals = [],
  }: {
    readonly data?: string;
    readonly witnesses: readonly string[];
    readonly k?: number;
    /** `ID=LEVEL:TENANT`. */
    readonly principals?: readonly string[];
  },
): Promise<string> => {
  for (const name of ["root", ...witnesses, ...principals.map((each) => each.split("=")[0] ?? "")]) {
    await stage.run(`sigil key new ${name}.pem`);
  }
  const keyOf = (name = ""): string => `"$(sigil key show ${name}.pem)"`;
  const flags = [
    `--root ${keyOf("root")}`,
    ...witnesses.map((name) => `--witness ${name}=${keyOf(name)}`),
    ...principals.map((each) => `--principal ${each}:${keyOf(each.split("=")[0])}`),
  ].join(" ");
  return genesisIn(
    await stage.run(`sigil init --data ${data} --origin sigil.example ${flags} --quorum ${k} --kek file:kek`),
  );
};

export const attestBy = async (stage: Stage, proposal: string, ...keys: readonly string[]): Promise<void> => {
  for (const key of keys) await stage.run(`sigil attest ${proposal} --key ${key}.pem --yes`);
};

export const wasm = (stage: Stage): Promise<void> =>
  writeFile(stage.path("redact.wasm"), codeOf({ body: "nop" }), { mode: 0o600 });
