/**
 * `sigil relay`: status and control of the relays of a local server, over the socket in its data directory. Requires
 * the server's user.
 */
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { relaySocket, type RelayReport } from "../../relay/control.ts";
import {
  countOf,
  exitCodes,
  jsonFlag,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { formatTable, printable, type Terminal } from "../terminal/terminal.ts";

type Answer = { readonly status: number; readonly body: unknown };

const answerMsMax = 30_000;
const defaultData = ".sigil";

const ask = async (
  socketPath: string,
  method: "GET" | "POST",
  path: string,
  waitMsMax: number,
): Promise<Answer> => {
  const asked = request({ socketPath, method, path, timeout: waitMsMax });
  asked.on("timeout", () => asked.destroy(new Error("no answer")));
  asked.end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await json(response) };
};

const ruleOf = (body: unknown): string =>
  typeof body === "object" && body !== null && "rule" in body && typeof body.rule === "string"
    ? body.rule
    : "refused";

/** @param waitMsMax 0 waits without end. @throws usage if no server answers, or it refuses. */
export const askServer = async (
  given: Arguments,
  method: "GET" | "POST",
  path: string,
  waitMsMax = answerMsMax,
): Promise<unknown> => {
  const socket = join(given.text("data") ?? defaultData, relaySocket);
  const { status, body } = await ask(socket, method, path, waitMsMax).catch((cause: unknown) => {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : "no answer";
    return usage(
      `no server with relays answers at ${socket} (${why}); is --data its data directory, and are you its user?`,
    );
  });
  return status === 200 ? body : usage(ruleOf(body));
};

const columns = [
  { title: "RELAY" },
  { title: "STATE" },
  { title: "NEXT", align: "right" },
  { title: "LAG", align: "right" },
  { title: "SECONDS", align: "right" },
  { title: "PUBLISHED", align: "right" },
  { title: "GENERATION", align: "right" },
  { title: "DESTINATION" },
] as const;

const formatReports = (reports: readonly RelayReport[]): string => {
  const table = formatTable(
    columns,
    reports.map(({ name, state, next, lag, lagMs, published, generation, destination }) => [
      name,
      state,
      next,
      lag,
      String(Math.round(lagMs / 1000)),
      published,
      String(generation),
      printable(destination),
    ]),
  );
  const errors = reports.flatMap(({ name, error }) =>
    error === null ? [] : [`${name}: ${printable(error)}`],
  );
  const stopped = reports.flatMap(({ name, stopped: shown, stopped_keys: count }) => [
    ...shown.map(
      ({ key, position, pending, rule }) =>
        `${name}: stopped at ${printable(key)}, position ${position}, ${pending} pending: ${printable(rule)}`,
    ),
    ...(count > shown.length ? [`${name}: ${count - shown.length} more keys are stopped`] : []),
  ]);
  return [table, ...errors, ...stopped].join("\n");
};

const show = (reports: readonly RelayReport[], given: Arguments, terminal: Terminal): ExitCode => {
  terminal.print(given.has("json") ? JSON.stringify({ relays: reports }) : formatReports(reports));
  const isWell = reports.every(
    ({ state, error, stopped_keys: keys }) => error === null && state !== "stopped" && keys === 0,
  );
  return isWell ? exitCodes.ok : exitCodes.no;
};

export const relayFlags = {
  data: {
    value: "DIR",
    about: `The data directory of the server, or of sigil relay run; ${defaultData} unless told.`,
  },
  ...jsonFlag,
} as const;

const exits = [
  "0  done, and every relay shown publishes, starts or is paused",
  "1  one of them fails, or has stopped, whole or at a key",
  "2  used wrongly, or no server answers",
];

export const relayStatus: Command = {
  name: "relay status",
  about:
    "Show what each relay of a server on this machine does: where it is, how far behind, and what fails. Takes the\n" +
    "server's own user.",
  flags: relayFlags,
  examples: ["sigil relay status --data /var/lib/sigil", "sigil relay status --json"],
  exits,
  run: async (given, terminal) =>
    show((await askServer(given, "GET", "/relays")) as readonly RelayReport[], given, terminal),
};

const steer = async (given: Arguments, terminal: Terminal, verb: string): Promise<ExitCode> => {
  const path = `/relays/${encodeURIComponent(given.words[0] ?? "")}/${verb}`;
  return show([(await askServer(given, "POST", path)) as RelayReport], given, terminal);
};

export const relayPause: Command = {
  name: "relay pause",
  about:
    "Stop publishing until the relay is resumed, also over restarts. Nothing is lost: the ledger keeps it.",
  words: ["NAME"],
  flags: relayFlags,
  examples: ["sigil relay pause siem --data /var/lib/sigil"],
  exits,
  run: (given, terminal) => steer(given, terminal, "pause"),
};

export const relayResume: Command = {
  name: "relay resume",
  about:
    "Publish again after a pause, or try at once what has failed or stopped; the first try may not be over yet.",
  words: ["NAME"],
  flags: relayFlags,
  examples: ["sigil relay resume siem --data /var/lib/sigil"],
  exits,
  run: (given, terminal) => steer(given, terminal, "resume"),
};

export const relayReset: Command = {
  name: "relay reset",
  about:
    "Publish again from a position on, as a new generation: nothing is taken back, so consumers get those records once\n" +
    "more, with another sigilgeneration.",
  words: ["NAME"],
  flags: { to: { value: "POSITION", about: "The first position to publish." }, ...relayFlags },
  examples: [
    "sigil relay reset siem --to 0 --data /var/lib/sigil",
    "sigil relay reset siem --to 120450 --data /var/lib/sigil",
  ],
  exits,
  run: (given, terminal) => {
    const to = countOf(given, "to") ?? usage("--to POSITION is needed");
    return steer(given, terminal, `reset?to=${to}`);
  },
};
