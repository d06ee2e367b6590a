/** `sigil module list`, `get` and `retire`: the modules a quorum approved. */
import { GetModuleResponse, Module, RetireModuleResponse, type ModuleLimits } from "@sigil/client";
import { toHex } from "@sigil/core/bytes";
import { countOf, exitCodes, jsonFlag, usage, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { levelName } from "../call/decision.ts";
import { limitFlag, limitOf, listAll, timeText } from "../call/listing.ts";
import { formatProposed, proposingFlags, readProposing } from "../proposal/proposing.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatPairs, formatTable, type Cell, type Terminal } from "../terminal/terminal.ts";

const shortDigestCharacters = 16;

const stateOf = ({ active, retired }: Module, { paint }: Terminal): Cell => {
  if (active) return { text: "active", style: "green", paint };
  return { text: retired ? "retired" : "replaced", style: "dim", paint };
};

const limitsText = (limits: ModuleLimits | undefined): string =>
  limits === undefined
    ? "–"
    : `${limits.wallMs} ms, ${limits.memoryPages} pages, ${limits.outputBytes} bytes of output`;

const codeText = ({ codeBytes }: Module): string =>
  codeBytes === 0n ? "not here: it does not run" : `${codeBytes} bytes`;

const formatModules = (modules: readonly Module[], terminal: Terminal): string =>
  formatTable(
    [
      { title: "NAME", widthMax: 32 },
      { title: "VERSION", align: "right" },
      { title: "STATE" },
      { title: "LEVEL" },
      { title: "CAPABILITIES", widthMax: 40 },
      { title: "DIGEST" },
      { title: "CODE", align: "right" },
    ],
    modules.map((module) => [
      module.name,
      String(module.version),
      stateOf(module, terminal),
      levelName(module.minLevel),
      module.capabilities.join(" "),
      toHex(module.digest).slice(0, shortDigestCharacters),
      module.codeBytes === 0n ? "–" : String(module.codeBytes),
    ]),
  );

const formatOne = (
  { module, attestedBy, k, n, proposalId }: GetModuleResponse,
  terminal: Terminal,
): string => {
  if (module === undefined) return usage("the server answered without a module");
  const cell = stateOf(module, terminal);
  const state = typeof cell === "string" ? cell : terminal.paint(cell.style, cell.text.toUpperCase());
  const quorum =
    proposalId === "" ? "came with the genesis record" : `${attestedBy.join(", ")} (${k} of ${n} needed)`;
  const pairs = formatPairs([
    ["version", String(module.version)],
    ["digest", toHex(module.digest)],
    ["code", codeText(module)],
    ["level", `${levelName(module.minLevel)} or above, and what the trust model says`],
    ["capabilities", module.capabilities.length === 0 ? "none" : module.capabilities.join(" ")],
    ["limits", limitsText(module.limits)],
    ["approved by", quorum],
    ["proposal", proposalId],
    ["position", String(module.ledgerPosition)],
    ["time", timeText(module.time)],
  ]);
  return `${state}  module/${module.name}\n\n${pairs}`;
};

const asObserver = "--key .sigil/keys/observer.pem --principal observer";

export const moduleList: Command = {
  name: "module list",
  about: "List the modules that a quorum approved. Takes level Observer.",
  flags: {
    retired: { about: "Also those that were retired." },
    ...limitFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [`sigil module list ${asObserver}`, "sigil module list --retired --json"],
  run: async (given, terminal) => {
    const [limit, includeRetired] = [limitOf(given), given.has("retired")];
    const modules = await withConnection(given, terminal, (connection) =>
      listAll(limit, terminal, async (page) => {
        const { modules: items, nextPageToken } = await connection.modules.listModules({
          ...page,
          includeRetired,
        });
        return { items, nextPageToken };
      }),
    );
    if (given.has("json"))
      for (const module of modules) terminal.print(JSON.stringify(Module.toJSON(module)));
    else terminal.print(formatModules(modules, terminal));
    return exitCodes.ok;
  },
};

export const moduleGet: Command = {
  name: "module get",
  about: "Show one module: its code's digest, what it is given, who approved it. Takes level Observer.",
  words: ["NAME"],
  flags: {
    version: { value: "N", about: "This version; default the newest." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [`sigil module get hello ${asObserver}`, "sigil module get hello --version 1 --json"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [name = ""] = given.words;
      const version = countOf(given, "version", 1n) ?? 0n;
      const response = await withConnection(given, terminal, ({ modules }) =>
        modules.getModule({ name, version }),
      );
      const json = given.has("json");
      terminal.print(
        json ? JSON.stringify(GetModuleResponse.toJSON(response)) : formatOne(response, terminal),
      );
      return exitCodes.ok;
    }),
};

export const moduleRetire: Command = {
  name: "module retire",
  about:
    "Propose the end of a module. Once enough witnesses have attested it, no version of it runs. Takes level Mentor.",
  words: ["NAME"],
  flags: {
    expect: { value: "N", about: "Only when the module is at version N." },
    ...proposingFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    'sigil module retire redact --reason "leaks names" --key .sigil/keys/mentor.pem --principal mentor',
  ],
  exits: ["0  proposed", "1  refused", "2  usage error, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [name = ""] = given.words;
      const [proposing, expectedVersion] = [readProposing(given), countOf(given, "expect", 1n)];
      const response = await withConnection(given, terminal, ({ modules }) =>
        modules.retireModule({
          name,
          ...proposing,
          ...(expectedVersion === undefined ? {} : { expectedVersion }),
        }),
      );
      const { proposal, auditId } = response;
      if (proposal === undefined) return usage("the server answered without a proposal");
      terminal.print(
        given.has("json")
          ? JSON.stringify(RetireModuleResponse.toJSON(response))
          : formatProposed(proposal, auditId, terminal),
      );
      return exitCodes.ok;
    }),
};
