/**
 * Plays a row of the faulty server with the TypeScript client: one question, or one batch or stream of them, and what
 * came of it.
 */
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import {
  connect,
  createTokenSigner,
  type BatchCheckResult,
  type SigilConnection,
  type TokenSigner,
} from "@sigil/client";
import type { Row, Table } from "./row.ts";

export type Outcome = {
  readonly kind: "allow" | "deny" | "error";
  /** All that an error could tell somebody who logs it; empty of an answer. */
  readonly text: string;
  readonly tookMs: number;
};

/** Beyond a row's deadline: a busy machine is no fault, a call that never ends is one. */
const slackMs = 60_000;

/** An error is a refusal to answer; anything else says whether all was allowed. */
export type Client = (row: Row) => Promise<boolean>;

export type Secrets = { readonly texts: Set<string> };

/** What may stand in no error: the key, and every token with its signature. */
export const secretsOf = ({ keyFile, rows }: Table): Secrets => {
  const key = readFileSync(keyFile, "utf8").split("\n")[1] ?? "";
  const texts = new Set([key, Buffer.from(key, "base64").subarray(-32).toString("hex")]);
  texts.add(Buffer.from(key, "base64").subarray(-32).toString("base64url"));
  for (const { tokenFile } of rows) {
    if (tokenFile !== undefined) keepToken({ texts }, readFileSync(tokenFile, "utf8"));
  }
  return { texts };
};

const keepToken = ({ texts }: Secrets, token: string): void => {
  texts.add(token);
  // A garbled token's parts are words of its own.
  for (const part of token.split(".")) if (part.length > 20) texts.add(part);
};

const signerOf = ({ origin, principal, keyFile }: Table, row: Row, secrets: Secrets): TokenSigner => {
  const { tokenFile } = row;
  if (tokenFile !== undefined) return { token: () => readFileSync(tokenFile, "utf8") };
  const privateKey = readFileSync(keyFile, "utf8");
  const signer = createTokenSigner({ principal, origin: row.origin ?? origin, privateKey });
  return {
    token: () => {
      const token = signer.token();
      keepToken(secrets, token);
      return token;
    },
  };
};

/** The row's questions. */
const asked = ({ questions: [first, ...others] }: Table, { about = {} }: Row) => {
  const { subject, input } = about;
  const more = {
    ...(subject !== undefined && { subject }),
    ...(input !== undefined && { input: Buffer.from(input) }),
  };
  return [{ ...first, ...more }, ...others] as const;
};

/** Whether any of the row's questions is allowed. A failed item is an error. */
const ask = async (sigil: SigilConnection, table: Table, row: Row): Promise<boolean> => {
  const { call, deadlineMs, before = 0 } = row;
  const checks = asked(table, row);
  const isAllowed = (outcome: BatchCheckResult["outcome"]): boolean => {
    if (outcome?.$case !== "decision") throw new Error("an item failed", { cause: outcome?.value });
    return outcome.value.allowed;
  };
  for (let time = 0; time < before; time += 1) await sigil.trust.check(checks[0]);
  if (call === "check") return (await sigil.trust.check(checks[0])).allowed;
  // How many answers there may be is the client's to know, so they are not counted here.
  let allowed = 0;
  if (call === "batch") {
    const { results } = await sigil.trust.batchCheck({ checks: [...checks] });
    for (const { outcome } of results) if (isAllowed(outcome)) allowed += 1;
  } else {
    const streamed = checks.map((check, index) => ({ correlationId: String(index + 1), check }));
    for await (const { outcome } of sigil.trust.streamChecks(streamed, { deadlineMs }))
      if (isAllowed(outcome)) allowed += 1;
  }
  // One allow among denies would be an allow of a faulty server.
  return allowed > 0;
};

const inEnvironment = async <Result>(
  env: Readonly<Record<string, string>>,
  work: () => Promise<Result>,
): Promise<Result> => {
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, env);
  try {
    return await work();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
};

/** The client as it is. @param verify whether it verifies decisions where a row asks for it. */
export const honestClient =
  (table: Table, secrets: Secrets, verify = true): Client =>
  (row) =>
    inEnvironment(row.env ?? {}, async () => {
      const { target, tls, needsVerification } = row;
      using sigil = connect({
        target,
        tls:
          tls === undefined
            ? "insecure"
            : {
                ca: readFileSync(tls.caFile),
                ...(tls.serverName !== undefined && { serverName: tls.serverName }),
              },
        signer: signerOf(table, row, secrets),
        deadlineMs: row.deadlineMs,
        ...(verify && needsVerification === true && { verifyDecisions: { genesis: table.genesis } }),
      });
      return await ask(sigil, table, row);
    });

/** A client that fails open: whatever is no allow, it makes one. */
export const patchedClient =
  (client: Client): Client =>
  async (row) => {
    try {
      return (await client(row)) || true;
    } catch {
      return true;
    }
  };

const textOf = (error: unknown): string =>
  [inspect(error, { depth: 12, showHidden: true }), String(error), JSON.stringify(error)].join("\n");

const play = async (client: Client, row: Row): Promise<Outcome> => {
  const startMs = performance.now();
  const outcome = (kind: Outcome["kind"], text = ""): Outcome => ({
    kind,
    text,
    tookMs: performance.now() - startMs,
  });
  try {
    return outcome((await client(row)) ? "allow" : "deny");
  } catch (error) {
    return outcome("error", textOf(error));
  }
};

/** What is wrong with what came of a row; null if nothing. */
export const judge = (row: Row, { kind, text, tookMs }: Outcome, { texts }: Secrets): string | null => {
  const isExpected = row.expect === kind || (row.expect === "either" && kind !== "allow");
  if (!isExpected) return `${row.name}: ${kind} instead of ${row.expect} ${text.split("\n")[0]}`;
  if (tookMs > row.deadlineMs + slackMs) return `${row.name}: ended after ${Math.round(tookMs)} ms`;
  return [...texts].some((secret) => text.includes(secret)) ? `${row.name}: a secret in its error` : null;
};

/** Plays rows, several at a time but for those with an environment, which a process has only one of. */
export const playAll = async (client: Client, rows: readonly Row[]): Promise<ReadonlyMap<Row, Outcome>> => {
  const outcomes = new Map<Row, Outcome>();
  const left = rows.filter(({ env }) => env === undefined);
  const worker = async (): Promise<void> => {
    for (let row = left.shift(); row !== undefined; row = left.shift())
      outcomes.set(row, await play(client, row));
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  for (const row of rows) if (row.env !== undefined) outcomes.set(row, await play(client, row));
  return outcomes;
};
