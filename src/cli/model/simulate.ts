/** `sigil simulate`: evaluates a candidate model on recorded decisions, or on one check. Records nothing. */
import { RecordProof, SimulateResponse, type SimulateRequest } from "@sigil/client";
import { jsonCharactersMax, simulateDecisionsMax } from "../../limits.ts";
import {
  exitCodes,
  jsonFlag,
  required,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { formatScore, verdictCell, whoName } from "../call/decision.ts";
import { readText } from "../terminal/input-file.ts";
import { warningLine } from "../proposal/proposing.ts";
import { readModelFile } from "../proposal/model-file.ts";
import { proposalId } from "../proposal/view.ts";
import { formatTable, type Terminal } from "../terminal/terminal.ts";

const lastDefault = 1000;

/** @throws usage. */
const readModel = async (given: Arguments, terminal: Terminal): Promise<Partial<SimulateRequest>> => {
  const proposal = given.text("proposal");
  if (proposal === undefined) {
    const path = required(given, "candidate", "FILE");
    const text = await readText(path, "--candidate", terminal, jsonCharactersMax);
    return { candidate: readModelFile(text, `--candidate: ${path}`) };
  }
  if (given.has("candidate")) usage("--candidate and --proposal exclude each other");
  return { proposalId: proposalId(proposal) };
};

const readMatter = (given: Arguments): SimulateRequest["subjectMatter"] => {
  const asksOne = given.has("action") || given.has("target") || given.has("subject");
  if (asksOne && given.has("last")) usage("--last and --action, --target, --subject exclude each other");
  if (!asksOne) {
    const value = wholeNumber(given.text("last") ?? String(lastDefault), "last", [1, simulateDecisionsMax]);
    return { $case: "lastDecisions", value };
  }
  const value = {
    action: required(given, "action", "ACTION"),
    target: required(given, "target", "TARGET"),
    subject: given.text("subject") ?? "",
    session: "",
    input: new Uint8Array(0),
    keepInput: false,
    disclose: false,
    proof: RecordProof.RECORD_PROOF_UNSPECIFIED,
    idempotencyKey: "",
  };
  return { $case: "check", value };
};

export const formatSimulation = (
  { scored, flipped, erased, decisions, warnings }: SimulateResponse,
  { paint }: Terminal,
): string => {
  const passed = erased === 0 ? "" : `; ${erased} records of erased tenants passed over`;
  const scoredLine = `${scored} scored, ${flipped} would change${passed}`;
  const head = [scoredLine, ...warnings.map((warning) => warningLine(warning, { paint }))].join("\n");
  if (decisions.length === 0) return head;
  const columns = [
    { title: "WHO", widthMax: 20 },
    { title: "ACTION", widthMax: 20 },
    { title: "TARGET", widthMax: 34 },
    { title: "NOW" },
    { title: "SCORE", align: "right" } as const,
    { title: "CANDIDATE" },
    { title: "SCORE", align: "right" } as const,
    { title: "REASON" },
    { title: "AUDIT ID" },
  ];
  const rows = decisions.map((each) => [
    whoName(each.subject),
    each.action,
    each.target,
    verdictCell(each.current, paint),
    formatScore(each.currentScore),
    verdictCell(each.candidate, paint),
    formatScore(each.candidateScore),
    each.candidateReason,
    each.auditId,
  ]);
  return [head, "", formatTable(columns, rows)].join("\n");
};

export const simulate: Command = {
  name: "simulate",
  about:
    "See what a candidate model would have decided: the last decisions of your tenant, or one question. Takes level\nMentor, for the model of a proposal Observer. Nothing is recorded.",
  flags: {
    candidate: {
      value: "FILE",
      about: "The model, as sigil model get --json or sigil canon get trust_model/active --system prints it.",
    },
    proposal: { value: "ID", about: "The model of this proposal instead of a file; takes level Observer." },
    last: { value: "N", about: `Score the last N decisions; default ${lastDefault}.` },
    action: { value: "ACTION", about: "Score one question instead: what is to happen." },
    target: { value: "TARGET", about: "To what." },
    subject: { value: "ID", about: "Who would do it; default the caller." },
    all: { about: "Show every decision and not the changed ones alone." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil simulate --candidate candidate.json --last 500 --key .sigil/keys/mentor.pem --principal mentor",
    "sigil simulate --candidate candidate.json --action payment.refund --target payment/eu/1204 --all",
  ],
  exits: ["0  no verdict would change", "1  at least one would", "2  could not be simulated"],
  run: async (given, terminal) => {
    const model = await readModel(given, terminal);
    const subjectMatter = readMatter(given);
    const response = await withConnection(given, terminal, ({ trust }) =>
      trust.simulate({ ...model, subjectMatter, includeUnchanged: given.has("all") }),
    );
    terminal.print(
      given.has("json")
        ? JSON.stringify(SimulateResponse.toJSON(response))
        : formatSimulation(response, terminal),
    );
    return response.flipped === 0 ? exitCodes.ok : exitCodes.no;
  },
};
