/**
 * The builds of docs/guides/write-a-module.md, run as they are printed there, into a directory of the caller's. A build
 * whose toolchain the machine does not have says what is missing; scripts/services.sh brings it.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repository, run } from "../../scripts/run.ts";

const guidePath = "docs/guides/write-a-module.md";

export type GuideBuild = {
  readonly language: string;
  /** The file it writes, below the directory. */
  readonly wasm: string;
  /** Why it cannot run here, or nothing. */
  readonly missing: string | undefined;
  readonly build: (directory: string) => Promise<void>;
};

/** Shell blocks by the heading they stand under. */
const blocksUnder = (heading: string): readonly string[] => {
  const guide = readFileSync(join(repository, guidePath), "utf8");
  const [, section = ""] = guide.split(`\n### ${heading}\n`);
  const [own = ""] = section.split(/\n##+ /);
  return [...own.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, script = ""]) => script);
};

const runBlock = async (script: string, directory: string): Promise<void> => {
  const here = script.replaceAll(/(?:\.\.\/)*build\/modules/g, directory);
  const { exitCode, output } = await run(["bash", "-euo", "pipefail", "-c", here]);
  if (exitCode !== 0) throw new Error(`${guidePath}: exit code ${exitCode} of\n${script}${output}`);
};

const answers = async (command: readonly string[]): Promise<string | undefined> => {
  const { exitCode, output } = await run(command);
  return exitCode === 0 ? output.trim() : undefined;
};

/** The compiler may know a target and still not have its standard library. */
const hasRustTarget = async (rustc: string, target: string): Promise<boolean> => {
  const library = await answers([rustc, "--print", "target-libdir", "--target", target]);
  return library !== undefined && existsSync(library);
};

/** Rustup's way stands first in the guide, Debian's second. */
const rustBlock = async (): Promise<number | undefined> => {
  if (await hasRustTarget("rustc", "wasm32-wasip1")) return 0;
  return (await hasRustTarget("/usr/bin/rustc", "wasm32-wasi")) ? 1 : undefined;
};

const goProblem = async (): Promise<string | undefined> => {
  const targets = await answers(["go", "tool", "dist", "list"]);
  if (targets === undefined) return "no go: scripts/services.sh install go_wasi";
  return targets.split("\n").includes("wasip1/wasm")
    ? undefined
    : "this go is older than 1.21: no target wasip1";
};

export const guideBuilds = async (): Promise<readonly GuideBuild[]> => {
  const [rust, go] = await Promise.all([rustBlock(), goProblem()]);
  const rustProblem = "no rustc with a WASI target: scripts/services.sh install rust_wasi";
  const builds = [
    { language: "AssemblyScript", block: 0, missing: undefined },
    { language: "Rust", block: rust ?? 0, missing: rust === undefined ? rustProblem : undefined },
    { language: "Go", block: 0, missing: go },
  ];
  return builds.map(({ language, block, missing }) => ({
    language,
    wasm: `redact-${language.toLowerCase()}.wasm`,
    missing,
    build: async (directory) => {
      const script = blocksUnder(language)[block];
      if (script === undefined) throw new Error(`${guidePath} shows no build under "${language}"`);
      await runBlock(script, directory);
    },
  }));
};
