/**
 * The faulty server before every face of the TypeScript client: `require`, `check`, a guarded function, middleware, a
 * batch, a stream. None allows by a fault, each ends in bounded time, and no error says a secret. A client in a wrapper
 * that makes an allow of every error fails every row, so that each row can fail.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { connect, createTokenSigner, SigilError, type Question, type SigilConnection } from "@sigil/client";
import { guard } from "@sigil/client/express";
import { repository } from "../../scripts/run.ts";

type Row = {
  readonly name: string;
  readonly target: string;
  readonly tls?: { readonly caFile: string; readonly serverName?: string };
  readonly env?: Readonly<Record<string, string>>;
  readonly call: "check" | "batch" | "stream";
  readonly needsVerification?: boolean;
  readonly before?: number;
  readonly about?: { readonly subject?: string; readonly input?: string };
  readonly tokenFile?: string;
  readonly origin?: string;
  readonly deadlineMs: number;
  readonly expect: "allow" | "error" | "deny" | "either";
};

type Table = {
  readonly origin: string;
  readonly principal: string;
  readonly keyFile: string;
  readonly genesis: string;
  readonly questions: readonly [Question, Question];
  readonly rows: readonly Row[];
};

type Outcome = "allow" | "deny" | "error";

/** Beyond a deadline: a busy machine is no fault, a call that never ends is one. */
const slackMs = 60_000;

/** Many faults answer nothing until their deadline, so that rows wait for one another. */
const playedAtOnce = 24;

/** One question by a face of the client. Rejects where there is no answer. @returns whether it is allowed. */
type Face = (sigil: SigilConnection, questions: Table["questions"], deadlineMs: number) => Promise<boolean>;

/** The same question, as a guard has it. */
const ruleOf = ({ action, target, subject, input }: Question) => ({
  action,
  target,
  ...(subject === undefined ? {} : { subject }),
  ...(input === undefined ? {} : { input: () => input }),
});

const viaHttp = async (sigil: SigilConnection, question: Question, deadlineMs: number): Promise<boolean> => {
  let ran = false;
  let error: unknown;
  const within = { require: (asked: Question) => sigil.require(asked, { deadlineMs }) };
  const guarded = guard<IncomingMessage>(within, {
    ...ruleOf(question),
    onDenied: (denied) => void (error = denied),
  });
  const server = createServer((request, response) =>
    guarded(request, response, () => {
      ran = true;
      response.end();
    }),
  ).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const asking = httpRequest({ host: "127.0.0.1", port, agent: false }).end();
    const [response] = (await once(asking, "response")) as [IncomingMessage];
    response.resume();
    await once(response, "end");
    expect(response.statusCode === 200).to.equal(ran);
    if (!ran) throw error;
    return ran;
  } finally {
    server.close();
  }
};

const items = (
  results: Iterable<{ readonly outcome?: { readonly $case: string; readonly value: unknown } | undefined }>,
): boolean => {
  let allowed = false;
  for (const { outcome } of results) {
    if (outcome?.$case !== "decision")
      throw SigilError.fromStatus(outcome?.value as Parameters<typeof SigilError.fromStatus>[0]);
    allowed ||= (outcome.value as { readonly allowed: boolean }).allowed;
  }
  return allowed;
};

const faces: Readonly<Record<Row["call"], Readonly<Record<string, Face>>>> = {
  check: {
    require: async (sigil, [question], deadlineMs) => (await sigil.require(question, { deadlineMs })).allowed,
    check: async (sigil, [question], deadlineMs) => (await sigil.check(question, { deadlineMs })).allowed,
    "a guarded function": (sigil, [question]) => sigil.guard(ruleOf(question), () => true)(),
    middleware: (sigil, [question], deadlineMs) => viaHttp(sigil, question, deadlineMs),
  },
  batch: {
    batchCheck: async (sigil, checks, deadlineMs) =>
      items((await sigil.trust.batchCheck({ checks: [...checks] }, { deadlineMs })).results),
  },
  stream: {
    streamChecks: async (sigil, checks, deadlineMs) => {
      const asked = checks.map((check, index) => ({ correlationId: String(index + 1), check }));
      let allowed = false;
      for await (const answer of sigil.trust.streamChecks(asked, { deadlineMs })) allowed ||= items([answer]);
      return allowed;
    },
  },
};

const inEnvironment = async <Result>(env: Row["env"] = {}, work: () => Promise<Result>): Promise<Result> => {
  const held = Object.keys(env).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, env);
  try {
    return await work();
  } finally {
    for (const [name, value] of held) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  }
};

describe("the faulty server, before every face of the TypeScript client", () => {
  let program: ChildProcess;
  let table: Table;
  const secrets = new Set<string>();
  const keep = (token: string): string => {
    for (const part of [token, ...token.split(".")]) if (part.length > 20) secrets.add(part);
    return token;
  };

  before(async () => {
    const main = join(repository, "test/faulty/main.ts");
    program = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", main], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: program.stdout ?? expect.fail("no output") })) {
      table = JSON.parse(line) as Table;
      break;
    }
    const key = readFileSync(table.keyFile, "utf8").split("\n")[1] ?? expect.fail("no key");
    const raw = Buffer.from(key, "base64").subarray(-32);
    for (const text of [key, raw.toString("hex"), raw.toString("base64url")]) secrets.add(text);
  });
  after(async () => {
    program.stdin?.end();
    if (program.exitCode === null) await once(program, "exit");
  });

  const open = (row: Row, verification: "asNeeded" | "none"): SigilConnection => {
    const { target, tls, tokenFile, origin = table.origin, deadlineMs, needsVerification } = row;
    const privateKey = readFileSync(table.keyFile, "utf8");
    const own = createTokenSigner({ principal: table.principal, origin, privateKey });
    const token = (): string => keep(tokenFile === undefined ? own.token() : readFileSync(tokenFile, "utf8"));
    const isVerified = verification === "asNeeded" && needsVerification === true;
    return connect({
      target,
      deadlineMs,
      signer: { token },
      tls:
        tls === undefined
          ? "insecure"
          : {
              ca: readFileSync(tls.caFile),
              ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
            },
      ...(isVerified ? { verifyDecisions: { genesis: table.genesis } } : {}),
    });
  };

  /** A client, to which a row is a question. Rejects where there is no answer. @returns whether it is allowed. */
  type Client = (row: Row, face: Face) => Promise<boolean>;

  const honestly =
    (verification: "asNeeded" | "none"): Client =>
    async (row, face) => {
      using sigil = open(row, verification);
      const { about: { subject, input } = {}, before = 0, deadlineMs } = row;
      const [plain, other] = table.questions;
      const first: Question = {
        ...plain,
        ...(subject === undefined ? {} : { subject }),
        ...(input === undefined ? {} : { input: Buffer.from(input) }),
      };
      for (let time = 0; time < before; time += 1) await sigil.check(first);
      return await face(sigil, [first, other], deadlineMs);
    };

  /** What no client may be: it takes every error for an allow, and every deny. */
  const credulously: Client = async (row, face) => {
    await honestly("asNeeded")(row, face).catch(() => false);
    return true;
  };

  const play = (row: Row, face: Face, client: Client): Promise<Outcome> =>
    inEnvironment(row.env, async () => {
      const began = performance.now();
      let outcome: Outcome;
      let told = "";
      try {
        outcome = (await client(row, face)) ? "allow" : "deny";
      } catch (error) {
        outcome = "error";
        told = String(error);
        const text = inspect(error, { depth: Infinity, showHidden: true }) + JSON.stringify(error);
        for (const secret of secrets)
          expect(text.includes(secret), `${row.name}: an error says a secret`).to.equal(false);
      }
      if (row.expect === "allow") expect(outcome, `${row.name}: ${told}`).to.equal("allow");
      expect(performance.now() - began, row.name).to.be.below(row.deadlineMs + slackMs);
      return outcome;
    });

  /** Rows that did not go as they must, by face. */
  const failures = async (rows: readonly Row[], client: Client): Promise<readonly string[]> => {
    const playRow = async (row: Row): Promise<readonly string[]> => {
      const wrong: string[] = [];
      for (const [name, face] of Object.entries(faces[row.call])) {
        const outcome = await play(row, face, client);
        const isRight = row.expect === "allow" ? outcome === "allow" : outcome !== "allow";
        if (!isRight) wrong.push(`${row.name}, by ${name}: ${outcome}`);
      }
      return wrong;
    };
    const alone = rows.filter(({ env }) => env !== undefined);
    const together = rows.filter(({ env }) => env === undefined);
    const wrong: string[] = [];
    const waiting = [...together];
    const player = async (): Promise<void> => {
      for (let row = waiting.shift(); row !== undefined; row = waiting.shift())
        wrong.push(...(await playRow(row)));
    };
    await Promise.all(Array.from({ length: playedAtOnce }, player));
    for (const row of alone) wrong.push(...(await playRow(row)));
    return wrong;
  };

  const faults = (): readonly Row[] => table.rows.filter((row) => row.expect !== "allow");

  it("allows by no face, says no secret, and ends; and allows what is honest", async () => {
    expect(faults().length).to.be.at.least(40);
    expect(await failures(table.rows, honestly("asNeeded"))).to.deep.equal([]);
  });

  it("has a fault in every row: a client that makes an allow of errors and denies fails each, by each face", async () => {
    const expected = faults().flatMap((row) =>
      Object.keys(faces[row.call]).map((face) => `${row.name}, by ${face}: allow`),
    );
    expect([...(await failures(faults(), credulously))].sort()).to.deep.equal([...expected].sort());
  });

  it("is allowed by an unverified connection where only verification notices", async () => {
    for (const row of faults().filter(({ needsVerification }) => needsVerification === true)) {
      const [face] = Object.values(faces[row.call]);
      expect(await play(row, face ?? expect.fail("no face"), honestly("none")), row.name).to.equal("allow");
    }
  });
});
