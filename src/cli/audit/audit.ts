/** `sigil audit`: recorded decisions and their proof. */
import {
  FrozenChain,
  GetCheckpointResponse,
  GetFrozenChainResponse,
  ListOrder,
  ProofError,
  SigilError,
  StepOutcome,
  Verdict,
  VerifyFrozenChainResponse,
  type ListFrozenChainsRequest,
  type ModelRows,
} from "@sigil/client";
import { toHex } from "@sigil/core/bytes";
import {
  countOf,
  exitCodes,
  jsonFlag,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, describeCallError, withConnection } from "../call/connection.ts";
import {
  formatScore,
  levelName,
  signed,
  readVerdictName,
  verdictCell,
  verdictName,
  verdictStyle,
  whoName,
} from "../call/decision.ts";
import { genesisFlag, genesisOf, orUnproven, verifyHere } from "../call/from-genesis.ts";
import { followChains } from "./follow.ts";
import { interruption } from "../terminal/interruption.ts";
import { limitFlag, limitOf, listAll, tenantFlag, timeOf, timeText } from "../call/listing.ts";
import { formatPairs, formatTable, printable, type Style, type Terminal } from "../terminal/terminal.ts";

/** The matching row of the model, for display. */
const globText = (glob: string): string => (glob === "" ? "(none matched)" : glob);

const formatChain = (chain: FrozenChain, rows: ModelRows | undefined): string => {
  const input = `${chain.inputBytes} bytes, SHA-256 ${toHex(chain.inputDigest)}`;
  const pairs = formatPairs([
    ["audit id", chain.auditId],
    ["time", timeText(chain.time)],
    ["tenant", chain.tenant],
    ["caller", whoName(chain.caller)],
    ["subject", `${whoName(chain.subject)}, ${levelName(chain.level)}`],
    ["takes", chain.minLevel === 0 ? undefined : `${levelName(chain.minLevel)} or above, by its target`],
    ["action", chain.action],
    ["target", chain.target],
    ["session", chain.session],
    ["input", chain.inputBytes === 0n ? undefined : input],
    ["verdict", verdictName(chain.verdict)],
    ["reason", chain.reason],
    ["score", `${formatScore(chain.score)} (threshold ${chain.threshold ?? "–"})`],
    [
      "z",
      chain.z === undefined ? undefined : `${signed(chain.z)} logits: the bias and what each feature adds`,
    ],
    ["action glob", rows === undefined ? undefined : globText(rows.actionGlob)],
    ["target glob", rows === undefined ? undefined : globText(rows.targetGlob)],
    ["model", `${chain.modelId} ${toHex(chain.modelHash)}`],
    ["position", String(chain.record?.position ?? "–")],
    ["record", toHex(chain.record?.hash ?? new Uint8Array(0))],
  ]);
  const features = formatTable(
    [{ title: "FEATURE" }, { title: "VALUE", align: "right" }, { title: "LOGITS", align: "right" }],
    [
      ...(rows === undefined ? [] : [["bias", "", signed(rows.bias)]]),
      ...chain.features.map(({ feature, value, contribution }) => [
        feature,
        value.toFixed(3),
        signed(contribution),
      ]),
    ],
  );
  const steps = chain.steps.map(({ name, detail }) => `  ${printable(name)}: ${printable(detail)}`);
  return [pairs, ...(chain.features.length > 0 ? ["", features] : []), "", "Reasoning:", ...steps].join("\n");
};

/** Exits with 1, not 2, if a record fails verification. */
const orDamage = async (terminal: Terminal, run: () => Promise<ExitCode>): Promise<ExitCode> => {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof SigilError) || error.codeName !== "DATA_LOSS") throw error;
    terminal.note(`sigil: ${describeCallError(error) ?? error.message}`);
    return exitCodes.no;
  }
};

const nameOf = (given: Arguments) => ({ auditId: given.words[0] ?? "", tenant: given.text("tenant") ?? "" });

const damageExits = ["0  shown", "1  the record fails its proof (DATA_LOSS)", "2  not found, or no answer"];

export const auditGet: Command = {
  name: "audit get",
  about: "Show one recorded decision. The server verifies the record before it answers.",
  words: ["AUDIT_ID"],
  flags: { ...tenantFlag, ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil audit get 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
    "sigil audit get 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --json | jq .record.envelope",
  ],
  exits: damageExits,
  run: (given, terminal) =>
    orDamage(terminal, async () => {
      const response = await withConnection(given, terminal, ({ audit }) =>
        audit.getFrozenChain(nameOf(given)),
      );
      const { chain, modelRows } = response;
      if (chain === undefined) return usage("the server answered without a decision");
      const json = {
        ...(FrozenChain.toJSON(chain) as object),
        ...(GetFrozenChainResponse.toJSON({ ...response, chain: undefined }) as object),
      };
      terminal.print(given.has("json") ? JSON.stringify(json) : formatChain(chain, modelRows));
      return exitCodes.ok;
    }),
};

const readVerdict = (text: string | undefined): Verdict =>
  text === undefined ? Verdict.VERDICT_UNSPECIFIED : readVerdictName(text);

type Query = Partial<ListFrozenChainsRequest>;

const positionOf = (given: Arguments): bigint => countOf(given, "from-position") ?? 0n;

const readQuery = (given: Arguments): Query => ({
  principal: given.text("who") ?? "",
  action: given.text("action") ?? "",
  targetGlob: given.text("target") ?? "",
  targetPrefix: given.text("target-prefix") ?? "",
  session: given.text("session") ?? "",
  reason: given.text("reason") ?? "",
  fromPosition: positionOf(given),
  verdict: readVerdict(given.text("verdict")),
  fromTime: timeOf(given, "from"),
  untilTime: timeOf(given, "until"),
  order: given.has("oldest-first") ? ListOrder.LIST_ORDER_OLDEST_FIRST : ListOrder.LIST_ORDER_NEWEST_FIRST,
  tenant: given.text("tenant") ?? "",
});

const listChains = (given: Arguments, terminal: Terminal): Promise<readonly FrozenChain[]> => {
  const [query, limit] = [readQuery(given), limitOf(given)];
  return withConnection(given, terminal, ({ audit }) =>
    listAll(limit, terminal, async (page) => {
      const { chains, nextPageToken } = await audit.listFrozenChains({ ...query, ...page });
      return { items: chains, nextPageToken };
    }),
  );
};

/** The position from which to resume after this decision. */
const nextAfter = (chain: FrozenChain): bigint => (chain.record?.position ?? 0n) + 1n;

const followJson = (chain: FrozenChain): string =>
  JSON.stringify({ ...(FrozenChain.toJSON(chain) as object), nextPosition: String(nextAfter(chain)) });

const followLine = (chain: FrozenChain, { paint }: Terminal): string =>
  [
    String(chain.record?.position ?? ""),
    timeText(chain.time),
    printable(whoName(chain.subject)),
    printable(chain.action),
    printable(chain.target),
    paint(verdictStyle(chain.verdict), verdictName(chain.verdict)),
    chain.reason,
    chain.auditId,
  ].join("  ");

const follow = async (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  for (const flag of ["until", "limit", "oldest-first"] as const) {
    if (given.has(flag)) usage(`--${flag} does not go with --follow`);
  }
  using interrupted = interruption();
  const write = given.has("json") ? followJson : (chain: FrozenChain) => followLine(chain, terminal);
  await withConnection(given, terminal, ({ audit }) =>
    followChains(
      {
        audit,
        query: readQuery(given),
        from: positionOf(given),
        stop: interrupted.signal,
        onPage: (chains) => {
          for (const chain of chains) terminal.print(write(chain));
        },
      },
      terminal,
    ),
  );
  return exitCodes.ok;
};

export const auditList: Command = {
  name: "audit list",
  about: "List recorded decisions, newest first. Each is verified before it is shown. Takes level Observer.",
  flags: {
    who: { value: "ID", about: "Only decisions about or asked by this principal." },
    action: { value: "ACTION", about: "Only this action." },
    target: { value: "GLOB", about: "Only targets that match, for example 'user/**'." },
    "target-prefix": { value: "PREFIX", about: "Only this target and those below it, for example user/ann." },
    verdict: { value: "VERDICT", about: "Only allow, deny or review." },
    reason: { value: "CODE", about: "Only this reason, for example SCORE_BELOW_THRESHOLD." },
    session: { value: "NAME", about: "Only this session." },
    from: {
      value: "TIME",
      about: "Only decisions made at or after it, for example 2026-01-31T12:00:00Z; UTC without a zone.",
    },
    until: { value: "TIME", about: "Only decisions made before it." },
    "from-position": { value: "N", about: "Only decisions at or after this position of the ledger." },
    follow: {
      about:
        "Go on with each decision as it is recorded, exactly once and in order, until Ctrl-C. Says with every one, or\n" +
        "with --json as nextPosition, where --from-position goes on after it.",
    },
    "oldest-first": { about: "Oldest first." },
    ...limitFlag,
    ...tenantFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit list --key .sigil/keys/observer.pem --principal observer",
    "sigil audit list --verdict deny --target 'payment/**' --limit 500 --json",
    "sigil audit list --follow --from-position 0 --json >> decisions.jsonl",
  ],
  exits: damageExits,
  run: (given, terminal) =>
    orDamage(terminal, async () => {
      if (given.has("follow")) return follow(given, terminal);
      const chains = await listChains(given, terminal);
      if (given.has("json")) {
        for (const chain of chains) terminal.print(JSON.stringify(FrozenChain.toJSON(chain)));
        return exitCodes.ok;
      }
      const columns = [
        { title: "TIME" },
        { title: "WHO", widthMax: 20 },
        { title: "ACTION", widthMax: 20 },
        { title: "TARGET", widthMax: 34 },
        { title: "VERDICT" },
        { title: "SCORE", align: "right" } as const,
        { title: "REASON" },
        { title: "AUDIT ID" },
      ];
      const rows = chains.map((chain) => [
        timeText(chain.time),
        whoName(chain.subject),
        chain.action,
        chain.target,
        verdictCell(chain.verdict, terminal.paint),
        formatScore(chain.score),
        chain.reason,
        chain.auditId,
      ]);
      terminal.print(formatTable(columns, rows));
      return exitCodes.ok;
    }),
};

const outcomes: ReadonlyMap<StepOutcome, readonly [string, Style]> = new Map([
  [StepOutcome.STEP_OUTCOME_PASSED, ["passed", "green"]],
  [StepOutcome.STEP_OUTCOME_FAILED, ["FAILED", "red"]],
  [StepOutcome.STEP_OUTCOME_SKIPPED, ["skipped", "dim"]],
]);

const formatVerification = (response: VerifyFrozenChainResponse, { paint }: Terminal): string => {
  const rows = response.steps.map(({ name, outcome, detail }) => {
    const [text, style] = outcomes.get(outcome) ?? ["unknown", "red"];
    return [name, { text, style, paint }, detail];
  });
  const result = response.verified ? paint("green", "VERIFIED") : paint("red", "NOT VERIFIED");
  return [
    `${result}  ledger position ${response.ledgerPosition}`,
    "",
    formatTable([{ title: "STEP" }, { title: "OUTCOME" }, { title: "DETAIL" }], rows),
  ].join("\n");
};

export const auditVerify: Command = {
  name: "audit verify",
  about:
    "Verify one recorded decision, step by step. --genesis verifies it once more on this machine and believes nothing the\n" +
    "server says; --json also gives the evidence to repeat it elsewhere.",
  words: ["AUDIT_ID"],
  flags: { ...genesisFlag, ...tenantFlag, ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil audit verify 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
    "sigil audit verify 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --genesis 5be4f6a1…",
    "sigil audit verify 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --json > evidence.json",
  ],
  exits: ["0  every step passed", "1  a step failed", "2  not found, or no answer"],
  run: async (given, terminal) => {
    const genesis = genesisOf(given);
    return withConnection(given, terminal, async (connection) => {
      const response = await connection.audit.verifyFrozenChain(nameOf(given));
      terminal.print(
        given.has("json")
          ? JSON.stringify(VerifyFrozenChainResponse.toJSON(response))
          : formatVerification(response, terminal),
      );
      if (!response.verified) return exitCodes.no;
      if (genesis === undefined) return exitCodes.ok;
      const { envelope, ledgerPosition: position } = response;
      return orUnproven(terminal, async () => {
        const { id, tenant } = await verifyHere(connection, genesis, { position, envelope });
        if (id !== given.words[0]) throw new ProofError(`the record is ${id}, not the one asked for`);
        if (tenant !== (given.text("tenant") ?? tenant))
          throw new ProofError(`the record is of tenant ${printable(tenant)}, not of the one asked about`);
        terminal.note("Verified here too, from the genesis hash.");
        return exitCodes.ok;
      });
    });
  },
};

export const auditCheckpoint: Command = {
  name: "audit checkpoint",
  about:
    "Print a signed checkpoint (C2SP tlog-checkpoint), the newest or that of an earlier size. Keep one: nothing before it\n" +
    "can change unseen.",
  flags: {
    size: { value: "N", about: "That of exactly so many records; signed now where no commit ended." },
    "at-least": { value: "N", about: "That of the commit with which the ledger reached so many records." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit checkpoint > checkpoint.txt",
    "sigil audit checkpoint --size 1000",
    "sigil audit checkpoint --json",
  ],
  run: async (given, terminal) => {
    const which = { size: countOf(given, "size", 1n) ?? 0n, atLeast: countOf(given, "at-least", 1n) ?? 0n };
    if (which.size !== 0n && which.atLeast !== 0n) usage("--at-least does not go with --size");
    const response = await withConnection(given, terminal, ({ audit }) => audit.getCheckpoint(which));
    terminal.print(
      given.has("json")
        ? JSON.stringify(GetCheckpointResponse.toJSON(response))
        : response.checkpoint.replace(/\n$/, ""),
    );
    return exitCodes.ok;
  },
};
