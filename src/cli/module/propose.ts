/** `sigil module propose` and `inspect`: inspects code from a file locally, and sends it for approval. */
import { createHash } from "node:crypto";
import { ProposeModuleResponse, LevelOfAccess, type ProposeModuleRequest } from "@sigil/client";
import { toHex } from "@sigil/core/bytes";
import { backupChunkBytesMax, moduleBytesMax } from "../../limits.ts";
import { inspectModule, type Inspection } from "../../modules/sandbox/inspect-module.ts";
import {
  countOf,
  exitCodes,
  jsonFlag,
  required,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { readBytes } from "../terminal/input-file.ts";
import { formatProposed, proposingFlags, readProposing } from "../proposal/proposing.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

const chunkBytesMax = backupChunkBytesMax;

const readLevel = (text: string): LevelOfAccess => {
  const name = `LEVEL_OF_ACCESS_${text.toUpperCase()}`;
  const level = Object.entries(LevelOfAccess).find(([each]) => each === name)?.[1];
  const isLevel = /^[a-z]+$/.test(text) && level !== undefined && level > 0;
  return isLevel ? level : usage("--level must be guest, observer, operator, mentor or root");
};

const countFlag = (given: Arguments, flag: string, initial: number): number => {
  const text = given.text(flag);
  return text === undefined ? initial : wholeNumber(text, flag, [1, 999_999_999]);
};

/** Default limits of a typical module. */
const initialLimits = { wallMs: 1000, memoryPages: 256, outputBytes: 64 << 10 };

const readManifest = (given: Arguments, digest: Uint8Array) => {
  const expectedVersion = countOf(given, "expect");
  return {
    ...readProposing(given),
    name: required(given, "name", "NAME"),
    minLevel: readLevel(required(given, "level", "LEVEL")),
    capabilities: [...given.texts("capability")],
    limits: {
      wallMs: countFlag(given, "wall-ms", initialLimits.wallMs),
      memoryPages: countFlag(given, "memory-pages", initialLimits.memoryPages),
      outputBytes: countFlag(given, "output-bytes", initialLimits.outputBytes),
    },
    digest,
    ...(expectedVersion === undefined ? {} : { expectedVersion }),
  };
};

function* partsOf(
  manifest: ReturnType<typeof readManifest>,
  code: Uint8Array,
  terminal: Terminal,
): Generator<ProposeModuleRequest> {
  const value = manifest as Extract<ProposeModuleRequest["part"], { $case: "manifest" }>["value"];
  yield { part: { $case: "manifest", value } };
  for (let from = 0; from < code.length; from += chunkBytesMax) {
    yield { part: { $case: "chunk", value: code.subarray(from, from + chunkBytesMax) } };
    terminal.progress(`${Math.min(code.length, from + chunkBytesMax)} of ${code.length} bytes sent`);
  }
}

const readCode = (path: string, terminal: Terminal): Promise<Uint8Array> =>
  readBytes(path, "FILE", terminal, moduleBytesMax);

const sha256 = (code: Uint8Array): Uint8Array => createHash("sha256").update(code).digest();

export const modulePropose: Command = {
  name: "module propose",
  about:
    "Send a module's code to the server, which checks it against what the manifest asks for and proposes its digest to\n" +
    "the witnesses. It runs once enough of them have attested it. Takes level Mentor.",
  words: ["FILE"],
  flags: {
    name: { value: "NAME", about: "Its name: a-z, 0-9 and . _ -" },
    level: { value: "LEVEL", about: "The minimum level of callers, besides what the trust model says." },
    capability: {
      value: "NAME",
      multiple: true,
      about: "What it is given: clock, random, trust.check, canon.read:PREFIX.",
    },
    "wall-ms": { value: "N", about: `Its wall time in milliseconds; default ${initialLimits.wallMs}.` },
    "memory-pages": {
      value: "N",
      about: `Its memory in pages of 64 KiB; default ${initialLimits.memoryPages}.`,
    },
    "output-bytes": { value: "N", about: `Its output in bytes; default ${initialLimits.outputBytes}.` },
    expect: { value: "N", about: "Only when the module is at version N; 0 means that there must be none." },
    ...proposingFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    'sigil module propose redact.wasm --name redact --level operator --reason "first version" --key .sigil/keys/mentor.pem --principal mentor',
    "sigil module propose prices.wasm --name prices --level operator --capability canon.read:prices/ --wall-ms 500",
  ],
  exits: ["0  proposed", "1  refused", "2  usage error, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const code = await readCode(given.words[0] ?? "", terminal);
      const manifest = readManifest(given, sha256(code));
      const response = await withConnection(given, terminal, ({ modules }) =>
        modules.proposeModule(partsOf(manifest, code, terminal)),
      );
      terminal.progress("");
      const { proposal, auditId, digest } = response;
      if (proposal === undefined) return usage("the server answered without a proposal");
      terminal.print(
        given.has("json")
          ? JSON.stringify(ProposeModuleResponse.toJSON(response))
          : `${formatProposed(proposal, auditId, terminal)}\n\ncode  ${toHex(digest)}`,
      );
      return exitCodes.ok;
    }),
};

const inspectionJson = (inspection: Inspection, digest: string): string =>
  JSON.stringify({ digest, ...inspection }, (_name, value: unknown) =>
    typeof value === "bigint" ? String(value) : value,
  );

const sizeText = ({ initial, max }: Inspection["memories"][number]): string => `${initial}..${max ?? ""}`;

const needsText = ({ needs, uses }: Inspection): string => {
  const flags = needs.map((name) => `--capability ${name}${name === "canon.read" ? ":PREFIX" : ""}`);
  const optional = uses.map((name) => `--capability ${name} (without it: fixed and repeatable)`);
  return [...flags, ...optional].join(", ");
};

const formatInspection = (inspection: Inspection, digest: string): string => {
  const { bytes, imports, exports, memories, tables, functions, dataBytes, hasStart, startPages, grows } =
    inspection;
  const pairs = formatPairs([
    ["digest", digest],
    ["bytes", String(bytes)],
    ["functions", `${functions}${hasStart ? ", one runs before _start" : ""}`],
    ["data", `${dataBytes} bytes`],
    ["memories", memories.map(sizeText).join(", ") || "none"],
    ["tables", String(tables.length)],
    ["needs", `--memory-pages ${startPages}${grows ? " or more: it can grow" : ""}`],
    ["may need", needsText(inspection)],
  ]);
  const imported = imports.map(({ module, name, type }) => `  import ${module}.${name}  ${type}`);
  const exported = exports.map(({ name, kind, type }) => `  export ${name}  ${kind} ${type}`);
  return [pairs, "", ...[...imported, ...exported].map(printable)].join("\n");
};

export const moduleInspect: Command = {
  name: "module inspect",
  about:
    "Look at a module's code without running it: digest, imports, exports, memories, and what a manifest would need. Asks\n" +
    "no server.",
  words: ["FILE"],
  flags: { ...jsonFlag },
  examples: ["sigil module inspect redact.wasm", "sigil module inspect redact.wasm --json | jq .imports"],
  exits: ["0  a module", "2  no module, or the file cannot be read"],
  run: async (given, terminal) => {
    const code = await readCode(given.words[0] ?? "", terminal);
    const inspection = inspectModule(code);
    const digest = toHex(sha256(code));
    const json = given.has("json");
    terminal.print(json ? inspectionJson(inspection, digest) : formatInspection(inspection, digest));
    return exitCodes.ok;
  },
};
