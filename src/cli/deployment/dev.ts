/**
 * `sigil dev`: a development deployment, made at the first start. Its keys are stored beside its data: not for
 * production.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { isInitialised } from "../../deployment/open.ts";
import { exitCodes, usage, type Command } from "../terminal/command.ts";
import { configFlags, loadConfig, serveUntilSignal, type Served } from "./serve.ts";
import type { Config } from "../../config/config.ts";
import { exists, makeDeployment, sampleFounders, sampleNames, sampleWitnesses } from "./setup.ts";
import type { Terminal } from "../terminal/terminal.ts";

const home = ".sigil";
const data = join(home, "data");
const keys = join(home, "keys");
const origin = "sigil.dev";
/** Loopback by default. */
const httpAddress = "127.0.0.1:50053";

const prepare = async (terminal: Terminal): Promise<void> => {
  if (await isInitialised(data)) return;
  if (await exists(data)) {
    usage(`${data} is not a whole deployment; a setup was interrupted: remove ${home} and start again`);
  }
  await mkdir(home, { recursive: true, mode: 0o700 });
  const founders = await sampleFounders(keys);
  const kekSource = { kind: "file", path: join(home, "kek") } as const;
  await makeDeployment({ ...founders, directory: data, origin, kekSource }, terminal);
  terminal.note(`made a development deployment in ${home}: origin ${origin}, 3 witnesses, quorum 2`);
};

const checkLine = (target: string, header: string, body: object): string =>
  `grpcurl -plaintext ${header}-d '${JSON.stringify(body)}' ${target} sigil.trust.v1.TrustService/Check`;

const bearer = `-H "authorization: Bearer $(npm run -s sigil -- token --key ${keys}/operator.pem --principal operator)" `;

/** Accepts any object. */
const noteSchema = JSON.stringify({ kind: "note", schema: { type: "object" } });

const httpLines = (url: string | null, hasUi: boolean): readonly string[] =>
  url === null
    ? []
    : [
        "Over HTTP:",
        `  curl -H 'content-type: application/json' -d '${JSON.stringify({ action: "read", target: "public/docs" })}' ${url}/trust/check`,
        ...(hasUi ? ["In a browser, with a token of a sample principal or none:", `  ${url}/ui`] : []),
      ];

/** Enables HTTP and its page, which are off by default elsewhere. */
const withHttp = (words: readonly string[], terminal: Terminal): Config => {
  const { sources } = loadConfig(words, terminal);
  const more = [
    ...(sources.http_listen.kind === "default" ? ["--http-listen", httpAddress] : []),
    ...(sources.ui.kind === "default" ? ["--ui"] : []),
  ];
  return loadConfig([...words, ...more], terminal);
};

const greeting = ({ target, httpUrl }: Served, hasUi: boolean): string =>
  [
    "",
    `Serving on ${target}, without TLS, for this machine only. Sample principals and witnesses, with keys in ${keys}/:`,
    `  ${sampleNames.join(", ")}`,
    `  ${sampleWitnesses.join(", ")}`,
    "",
    "As an anonymous Guest:",
    `  ${checkLine(target, "", { action: "read", target: "public/docs" })}`,
    `  ${checkLine(target, "", { action: "delete", target: "user/profile" })}`,
    "With a token of the sample operator:",
    `  ${checkLine(target, bearer, { action: "write", target: "user/notes" })}`,
    ...httpLines(httpUrl, hasUi),
    "What is served:",
    `  grpcurl -plaintext ${target} list`,
    "With the command line:",
    `  npm run -s sigil -- check --action write --target user/notes --key ${keys}/operator.pem --principal operator`,
    "A change that two witnesses must attest:",
    `  echo '${noteSchema}' | npm run -s sigil -- propose - --id schema/note --key ${keys}/mentor.pem --principal mentor`,
    `  npm run -s sigil -- attest PROPOSAL --key ${keys}/witness-1.pem    # then witness-2`,
    "",
  ].join("\n");

export const dev: Command = {
  name: "dev",
  about:
    `Serve a development deployment in ${home}/ on 127.0.0.1:50051, and over HTTP, with the page /ui, on\n` +
    `${httpAddress}. The first start makes it, with a sample principal of every level. Takes the flags of sigil serve, except --data.`,
  flags: Object.fromEntries(Object.entries(configFlags).filter(([name]) => name !== "data")),
  rawArguments: true,
  examples: ["sigil dev", "sigil dev --listen 127.0.0.1:6000 --operator-listen 127.0.0.1:6001"],
  exits: ["0  stopped by a signal", "2  could not start"],
  run: async (_given, terminal, argv) => {
    if (argv.some((word) => word === "--data" || word.startsWith("--data="))) {
      usage(`sigil dev keeps its data in ${home}; for another place: sigil init --data DIR --dev`);
    }
    // Checked first, so that nothing is created if the start would fail.
    const words = [...argv, "--data", data];
    const config = withHttp(words, terminal);
    await prepare(terminal);
    await serveUntilSignal(config, terminal, (served) => terminal.note(greeting(served, config.ui)));
    return exitCodes.ok;
  },
};
