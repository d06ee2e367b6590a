/**
 * Builds the generator of load and the peers' servers by Go, into build/peers/bin. The go.mod of each folder of
 * servers/ pins a server with everything it is built from, go.sum holds the checksums; the versions stand nowhere else.
 */
import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "../../scripts/run.ts";

const binaries = join(repository, "build", "peers", "bin");
const sources = join(repository, "bench", "peers");

export const programNames = ["opa", "cerbos", "openfga", "spicedb"] as const;
export type ProgramName = (typeof programNames)[number];

/** Built, or why not. */
export type Built = { readonly path: string; readonly version: string } | { readonly why: string };

const outputBytesMax = 16 * 2 ** 20;
const stillEveryMs = 20_000;

const goProblem = (error: unknown): string => {
  const { code, stderr = "", message } = error as { code?: unknown; stderr?: string; message: string };
  if (code === "ENOENT") return "there is no Go: scripts/services.sh install peers_loadgen";
  const lines = stderr
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("go: downloading "));
  return `go build: ${lines.slice(0, 2).join(" ") || message}`;
};

const build = async (
  cwd: string,
  from: string,
  name: string,
  signal: AbortSignal,
): Promise<Built & { readonly path: string }> => {
  const path = join(binaries, name);
  // Two packages at a time: a peer has thousands, and the machine may be in use.
  const flags = `${process.env["GOFLAGS"] ?? ""} -mod=readonly -buildvcs=false -p=2`.trim();
  await promisify(execFile)("go", ["build", "-o", path, from], {
    cwd,
    env: { ...process.env, GOFLAGS: flags },
    signal,
    maxBuffer: outputBytesMax,
  });
  return { path, version: "" };
};

/** The package of the `tool` line, its module, and the version that is required of that. */
type Pin = { readonly tool: string; readonly module: string; readonly version: string };

export const pinOf = async (name: ProgramName): Promise<Pin> => {
  const text = await readFile(join(sources, "servers", name, "go.mod"), "utf8");
  const [, tool = ""] = /^tool (\S+)$/m.exec(text) ?? [];
  const required = [...text.matchAll(/^(?:require)?\s+(\S+) (v\S+)/gm)];
  const found = required.find(([, module = ""]) => `${tool}/`.startsWith(`${module}/`));
  const [, module = "", version = ""] = found ?? [];
  return { tool, module, version };
};

/** @throws if it cannot be built for any other reason than Go and its modules. */
export const buildGenerator = async (signal: AbortSignal): Promise<Built> => {
  await mkdir(binaries, { recursive: true });
  try {
    return await build(join(sources, "loadgen"), ".", "loadgen", signal);
  } catch (error) {
    signal.throwIfAborted();
    return { why: goProblem(error) };
  }
};

/** A server, downloaded and compiled unless it is in Go's caches: minutes the first time. */
export const buildProgram = async (
  name: ProgramName,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Built> => {
  const { tool, version } = await pinOf(name);
  const startMs = performance.now();
  const still = setInterval(() => {
    say(
      `building ${name} ${version}: ${Math.round((performance.now() - startMs) / 1000)} s, minutes the first time`,
    );
  }, stillEveryMs);
  try {
    const { path } = await build(join(sources, "servers", name), tool, name, signal);
    return { path, version };
  } catch (error) {
    signal.throwIfAborted();
    return { why: goProblem(error) };
  } finally {
    clearInterval(still);
  }
};
