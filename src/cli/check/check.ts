/** `sigil check`: one check from flags, or many from a file, sixteen concurrently, answered in order. */
import { writeFile } from "node:fs/promises";
import {
  CheckResponse,
  RecordProof,
  SigilError,
  Verdict,
  verifyDecision,
  walkKeys,
  type CheckRequest,
  type SigilConnection,
} from "@sigil/client";
import { inputBytesMax } from "../../limits.ts";
import {
  exitCodes,
  jsonFlag,
  required,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { callErrorJson, connectionFlags, withConnection } from "../call/connection.ts";
import { genesisFlag, genesisOf, orUnproven } from "../call/from-genesis.ts";
import { decisionColumns, decisionRow, formatDecision } from "../call/decision.ts";
import { readBytes } from "../terminal/input-file.ts";
import { parseRequests, type NumberedRequest } from "./requests.ts";
import { formatTable, printable, type Cell, type Terminal } from "../terminal/terminal.ts";

const inFlightMax = 16;
const questionFlags = [
  "action",
  "target",
  "subject",
  "session",
  "input",
  "keep-input",
  "disclose",
  "idempotency-key",
  "evidence",
  "genesis",
];

/** What the flags need of the answer. */
const proofFor = (given: Arguments): RecordProof => {
  if (given.has("evidence")) return RecordProof.RECORD_PROOF_EVIDENCE;
  return given.has("genesis") ? RecordProof.RECORD_PROOF_INCLUSION : RecordProof.RECORD_PROOF_UNSPECIFIED;
};

const writeEvidence = async (path: string, { auditId, proof }: CheckResponse): Promise<void> => {
  const file = proof?.evidence ?? new Uint8Array(0);
  if (file.length === 0)
    return usage(
      `--evidence: the answer came without it; ask for it: sigil audit evidence ${printable(auditId)}`,
    );
  await writeFile(path, file).catch(() => usage(`--evidence: ${path} cannot be written`));
};

const readQuestion = async (given: Arguments, terminal: Terminal): Promise<CheckRequest> => {
  const inputPath = given.text("input");
  return {
    action: required(given, "action", "ACTION"),
    target: required(given, "target", "TARGET"),
    subject: given.text("subject") ?? "",
    session: given.text("session") ?? "",
    input:
      inputPath === undefined
        ? new Uint8Array(0)
        : await readBytes(inputPath, "--input", terminal, inputBytesMax),
    keepInput: given.has("keep-input"),
    disclose: given.has("disclose"),
    proof: proofFor(given),
    idempotencyKey: given.text("idempotency-key") ?? "",
  };
};

const exitOf = (response: CheckResponse): ExitCode => {
  const allows = response.allowed && response.verdict === Verdict.VERDICT_ALLOW;
  return allows ? exitCodes.ok : exitCodes.no;
};

const checkOne = async (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const request = await readQuestion(given, terminal);
  const [genesis, evidencePath] = [genesisOf(given), given.text("evidence")];
  const response = await withConnection(given, terminal, async (connection) => {
    const decision = await connection.trust.check(request);
    if (genesis !== undefined)
      await verifyDecision(await walkKeys(connection, genesis), { request, decision });
    return decision;
  });
  if (evidencePath !== undefined) await writeEvidence(evidencePath, response);
  terminal.print(
    given.has("json")
      ? JSON.stringify(CheckResponse.toJSON(response))
      : formatDecision(request, response, terminal.paint),
  );
  return exitOf(response);
};

type Answer = NumberedRequest & { readonly outcome: CheckResponse | SigilError };

const ask = async ({ trust }: SigilConnection, numbered: NumberedRequest): Promise<Answer> => {
  try {
    return { ...numbered, outcome: await trust.check(numbered.request) };
  } catch (error) {
    return { ...numbered, outcome: SigilError.from(error) };
  }
};

const answerJson = ({ line, request, outcome }: Answer): string => {
  const { action, target, subject } = request;
  const asked = { line, action, target, ...(subject === "" ? {} : { subject }) };
  return outcome instanceof SigilError
    ? JSON.stringify({ ...asked, error: callErrorJson(outcome) })
    : JSON.stringify({ ...asked, decision: CheckResponse.toJSON(outcome) });
};

const answerRow = ({ line, request, outcome }: Answer, { paint }: Terminal): readonly Cell[] => {
  if (!(outcome instanceof SigilError)) return [String(line), ...decisionRow(request, outcome, paint)];
  const error: Cell = { text: "ERROR", style: "red", paint };
  const reason = outcome.reason === "" ? outcome.codeName : outcome.reason;
  return [String(line), request.subject, "", request.action, request.target, error, "", reason, ""];
};

/** The worst exit code: no answer outweighs a deny. */
const worst = (answers: readonly Answer[]): ExitCode =>
  answers.reduce<ExitCode>((code, { outcome }) => {
    const each = outcome instanceof SigilError ? exitCodes.unknown : exitOf(outcome);
    return each > code ? each : code;
  }, exitCodes.ok);

const fileBytesMax = 256 << 20;

const checkFile = async (path: string, given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const clash = questionFlags.find((flag) => given.has(flag));
  if (clash !== undefined) usage(`--file and --${clash} exclude each other`);
  const requests = parseRequests(
    new TextDecoder().decode(await readBytes(path, "--file", terminal, fileBytesMax)),
  );
  const answers: Answer[] = [];
  await withConnection(given, terminal, async (connection) => {
    for (let from = 0; from < requests.length; from += inFlightMax) {
      const group = requests.slice(from, from + inFlightMax);
      const answered = await Promise.all(group.map((numbered) => ask(connection, numbered)));
      answers.push(...answered);
      if (given.has("json")) for (const answer of answered) terminal.print(answerJson(answer));
      terminal.progress(`${answers.length} of ${requests.length} checked`);
    }
  });
  terminal.progress("");
  if (!given.has("json")) {
    const columns = [{ title: "LINE", align: "right" } as const, ...decisionColumns];
    terminal.print(
      formatTable(
        columns,
        answers.map((answer) => answerRow(answer, terminal)),
      ),
    );
  }
  return worst(answers);
};

export const check: Command = {
  name: "check",
  about:
    "Ask whether something may happen. The answer is in the ledger before it is printed. --file asks every line of a\n" +
    "JSON Lines file: action, target, and where wanted subject, session, input, keep_input, disclose,\n" +
    "idempotency_key.",
  flags: {
    action: { value: "ACTION", about: "What is to happen." },
    target: { value: "TARGET", about: "To what." },
    subject: {
      value: "ID",
      about: "Who would do it; default the caller. Naming another takes level Operator.",
    },
    session: { value: "NAME", about: "A session the check belongs to; recorded." },
    input: { value: "FILE|-", about: "The action's input; its digest is recorded, its entropy scored." },
    "keep-input": { about: "Keep the input itself in the (encrypted) record." },
    disclose: { about: "With --json: give what opens the commitments of the decision's record." },
    "idempotency-key": { value: "KEY", about: "Makes a repeat safe for 24 hours." },
    evidence: { value: "FILE", about: "Write the evidence file of the decision, which sigil verify reads." },
    ...genesisFlag,
    file: { value: "FILE|-", about: "Ask every line of this file instead." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil check --action read --target public/docs",
    "sigil check --action write --target user/notes --key .sigil/keys/operator.pem --principal operator",
    "echo 'rm -rf build' | sigil check --action tool.shell --target session/7 --input - --json",
    "sigil check --action read --target public/docs --genesis 5be4f6a1… --evidence decision.sigil",
    "sigil check --file examples/requests.jsonl --key .sigil/keys/operator.pem --principal operator",
  ],
  exits: [
    "0  allowed; with --file: every one",
    "1  denied, in review, or not proved; with --file: at least one",
    "2  no answer: treat it as a deny; with --file: at least one got none",
  ],
  run: async (given, terminal) => {
    const file = given.text("file");
    return file === undefined
      ? orUnproven(terminal, () => checkOne(given, terminal))
      : checkFile(file, given, terminal);
  },
};
