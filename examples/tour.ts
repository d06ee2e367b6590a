/**
 * `npm run tour`: a real server in a temporary directory, a day's worth of requests, a proof of every answer; a change
 * of the trust model by quorum, a tool that two witnesses approve and an operator runs; tables made of what a relay
 * wrote, dropped and made again; then one byte of one record is flipped on disk, and the server refuses to serve that
 * record. Under thirty seconds; exits 0 only when all of it went as told.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  connect,
  createTokenSigner,
  SigilError,
  StepOutcome,
  Verdict,
  type CheckResponse,
  type SigilConnection,
} from "@sigil/client";
import { fromHex, parseHash } from "@sigil/core/bytes";
import { decisionColumns, decisionRow, verdictName } from "../src/cli/call/decision.ts";
import { parseRequests, type NumberedRequest } from "../src/cli/check/requests.ts";
import { formatTable, processTerminal } from "../src/cli/terminal/terminal.ts";
import { recordKey } from "../src/ledger/layout/keyspace.ts";
import { openLevelStore } from "../src/storage/level.ts";
import { showFeed } from "./chapter-feed.ts";
import { showModules } from "./chapter-modules.ts";
import { showQuorum } from "./chapter-quorum.ts";

const requestsPath = join(import.meta.dirname, "requests.jsonl");
const mainPath = join(import.meta.dirname, "../src/main.ts");
const origin = "tour.sigil.dev";
const verifyInFlightMax = 16;
const startMsMax = 15_000;
const terminal = processTerminal(process);

/** What is promised at this point does not hold: the tour is over. */
class Unexpected extends Error {}

const expect = (holds: boolean, promise: string): void => {
  if (!holds) throw new Unexpected(promise);
};

const say = (text: string): void => terminal.print(text);
const title = (text: string): void => say(`\n${terminal.paint("bold", text)}`);

/** The command line, with nothing of the caller's own SIGIL_ settings. */
const sigil = (words: readonly string[], stdout: "pipe" | "inherit" = "pipe"): ChildProcess => {
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith("SIGIL_"));
  return spawn(process.execPath, [mainPath, ...words], {
    stdio: ["ignore", stdout, "pipe"],
    env: Object.fromEntries(environment),
  });
};

type Ended = { readonly exitCode: number; readonly output: string; readonly problems: string };

const runSigil = async (words: readonly string[]): Promise<Ended> => {
  const child = sigil(words);
  const texts = { output: "", problems: "" };
  child.stdout?.on("data", (part: Buffer) => (texts.output += part.toString()));
  child.stderr?.on("data", (part: Buffer) => (texts.problems += part.toString()));
  await once(child, "close");
  return { exitCode: child.exitCode ?? 2, ...texts };
};

type Server = AsyncDisposable & { readonly target: string };

/** @throws Unexpected when the server does not come up. */
const startServer = async (data: string, flags: readonly string[] = []): Promise<Server> => {
  const free = "127.0.0.1:0";
  const child = sigil(["serve", "--data", data, "--listen", free, "--operator-listen", free, ...flags]);
  const problems: string[] = [];
  child.stderr?.on("data", (part: Buffer) => problems.push(part.toString()));
  const closed = once(child, "close");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await closed;
  };
  const target = await servingTarget(child, closed);
  if (target !== undefined) return { target, [Symbol.asyncDispose]: stop };
  await stop();
  throw new Unexpected(`the server starts: ${problems.join("").trim()}`);
};

/** The address in the server's log. */
const servingTarget = async (child: ChildProcess, closed: Promise<unknown>): Promise<string | undefined> => {
  if (child.stdout === null) return undefined;
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(undefined), startMsMax);
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return;
    const { msg, target } = JSON.parse(line) as { readonly msg?: string; readonly target?: string };
    if (msg === "serving") resolve(target);
  });
  void closed.then(() => resolve(undefined));
  const target = await promise;
  clearTimeout(timer);
  return target;
};

const connectAs = async (
  principal: string,
  target: string,
  keyDirectory: string,
): Promise<SigilConnection> => {
  const privateKey = await readFile(join(keyDirectory, `${principal}.pem`), "utf8");
  const signer = createTokenSigner({ principal, origin, privateKey });
  return connect({ target, tls: "insecure", signer });
};

type Decided = NumberedRequest & { readonly response: CheckResponse };

/** One after the other, as they stand in the file. */
const play = async (
  { trust }: SigilConnection,
  requests: readonly NumberedRequest[],
): Promise<readonly Decided[]> => {
  const decided: Decided[] = [];
  for (const numbered of requests) {
    decided.push({ ...numbered, response: await trust.check(numbered.request) });
    terminal.progress(`${decided.length} of ${requests.length} decided`);
  }
  terminal.progress("");
  return decided;
};

const verifyAll = async ({ audit }: SigilConnection, decided: readonly Decided[]): Promise<void> => {
  for (let from = 0; from < decided.length; from += verifyInFlightMax) {
    const group = decided.slice(from, from + verifyInFlightMax);
    const verified = await Promise.all(
      group.map(({ response: { auditId } }) => audit.verifyFrozenChain({ auditId })),
    );
    for (const [at, { verified: holds }] of verified.entries()) {
      expect(holds, `decision ${group[at]?.response.auditId} verifies`);
    }
    terminal.progress(`${from + group.length} of ${decided.length} verified`);
  }
  terminal.progress("");
};

const countOf = (decided: readonly Decided[], verdict: Verdict): number =>
  decided.filter(({ response }) => response.verdict === verdict).length;

const tally = (decided: readonly Decided[]): string =>
  [Verdict.VERDICT_ALLOW, Verdict.VERDICT_DENY, Verdict.VERDICT_REVIEW]
    .map((verdict) => `${countOf(decided, verdict)} ${verdictName(verdict)}`)
    .join(", ");

const flipOneByte = async (data: string, position: bigint): Promise<void> => {
  await using store = await openLevelStore(join(data, "ledger"));
  const stored = await store.get(recordKey(position));
  if (stored === undefined) throw new Unexpected(`a record is stored at position ${position}`);
  const flipped = Uint8Array.from(stored);
  const middle = flipped.length >> 1;
  flipped[middle] = (flipped[middle] ?? 0) ^ 0x01;
  await store.commit([{ kind: "put", key: recordKey(position), value: flipped }]);
};

const readRefused = async ({ audit }: SigilConnection, auditId: string): Promise<SigilError> => {
  try {
    await audit.getFrozenChain({ auditId });
  } catch (error) {
    return SigilError.from(error);
  }
  throw new Unexpected("a damaged record is refused");
};

const showRefusal = async (
  connection: SigilConnection,
  victim: Decided,
  neighbour: Decided,
): Promise<void> => {
  const { auditId } = victim.response;
  const refusal = await readRefused(connection, auditId);
  say(`GetFrozenChain ${auditId}: ${terminal.paint("red", refusal.codeName)} (${refusal.reason})`);
  expect(refusal.codeName === "DATA_LOSS", "the refusal is DATA_LOSS");
  const { verified, steps } = await connection.audit.verifyFrozenChain({ auditId });
  const failed = steps.find(({ outcome }) => outcome === StepOutcome.STEP_OUTCOME_FAILED);
  say(`VerifyFrozenChain: ${verified ? "verified" : `step "${failed?.name}" failed: ${failed?.detail}`}`);
  expect(!verified && failed !== undefined, "verification names the step that fails");
  const { chain } = await connection.audit.getFrozenChain({ auditId: neighbour.response.auditId });
  expect(chain?.auditId === neighbour.response.auditId, "the record beside it is still served");
  say("The record beside it is served as before.");
};

const showFsck = async (data: string, position: bigint): Promise<void> => {
  const { exitCode, output, problems } = await runSigil(["fsck", "--data", data]);
  say(output.trim());
  expect(
    exitCode === 1,
    `sigil fsck finds damage and exits with 1 (it exited with ${exitCode}: ${problems})`,
  );
  expect(new RegExp(`\\b${position}\\b`).test(output), `sigil fsck names position ${position}`);
};

const tour = async (directory: string): Promise<void> => {
  const data = join(directory, "data");
  const keyDirectory = `${data}.keys`;
  const startMs = performance.now();
  title("1. A deployment and a server");
  const made = await runSigil(["init", "--data", data, "--dev", "--origin", origin, "--json"]);
  expect(made.exitCode === 0, `sigil init makes a deployment: ${made.problems}`);
  const requests = parseRequests(await readFile(requestsPath, "utf8"));
  const { genesis } = JSON.parse(made.output) as { readonly genesis: string };
  const relayed = join(directory, "relayed");
  const relays = [{ name: "tour", to: "files", directory: relayed }];
  const { decided, projected } = await (async () => {
    await using server = await startServer(data, ["--relays", JSON.stringify(relays)]);
    say(`Serving ${origin} on ${server.target}, data in ${directory}`);
    using connection = await connectAs("operator", server.target, keyDirectory);
    title(`2. ${requests.length} requests`);
    const played = await play(connection, requests);
    const rows = played.map(({ request, response }) => decisionRow(request, response, terminal.paint));
    say(formatTable(decisionColumns, rows));
    say(`\n${tally(played)}`);
    for (const verdict of [Verdict.VERDICT_ALLOW, Verdict.VERDICT_DENY, Verdict.VERDICT_REVIEW]) {
      expect(countOf(played, verdict) > 0, `some requests get ${verdictName(verdict)}`);
    }
    title("3. A proof of every answer");
    await verifyAll(connection, played);
    say(
      `${played.length} of ${played.length} verified: seal, hash, key, signature, inclusion, checkpoint, decision`,
    );
    title("4. A change of the model takes two witnesses of three");
    const stage = { keyDirectory, say, expect };
    await showQuorum({ ...stage, target: server.target, directory, connection, runSigil });
    title("5. Code runs behind the same gate");
    await showModules({
      ...stage,
      connectAs: (principal) => connectAs(principal, server.target, keyDirectory),
    });
    title("6. What follows from the ledger can be thrown away");
    const projected = await showFeed({
      ...stage,
      directory,
      connection,
      relayed,
      genesis: parseHash(fromHex(genesis)),
    });
    return { decided: played, projected };
  })();
  const victimIndex = decided.length >> 1;
  const [victim, neighbour] = [decided[victimIndex], decided[victimIndex + 1]];
  if (victim === undefined || neighbour === undefined)
    throw new Unexpected("there are decisions to choose from");
  const position = victim.response.ledgerPosition;
  title("7. One byte flipped on disk");
  await flipOneByte(data, position);
  say(
    `Flipped one bit of the record at position ${position} (line ${victim.line}), and started the server again:`,
  );
  await (async () => {
    await using server = await startServer(data);
    using connection = await connectAs("operator", server.target, keyDirectory);
    await showRefusal(connection, victim, neighbour);
  })();
  title("8. sigil fsck");
  await showFsck(data, position);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  title("That was it");
  say(
    `${decided.length} decided (${tally(decided)}), ${decided.length} verified, ${projected} projected twice, 2 tampered with, 2 refused: ${seconds} s`,
  );
};

const directory = await mkdtemp(join(tmpdir(), "sigil-tour-"));
process.umask(0o077);
try {
  await tour(directory);
} catch (error) {
  terminal.progress("");
  const problem =
    error instanceof Unexpected ? `this should hold, and does not: ${error.message}` : String(error);
  terminal.note(`tour: ${problem}`);
  process.exitCode = 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}
