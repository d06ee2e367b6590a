/** `sigil model check`: likely mistakes in a model, and the effect of a full rate window on each action. */
import { GetActiveModelResponse } from "@sigil/client";
import type { CborValue } from "@sigil/core/cbor";
import { describeError, SigilFault } from "../../errors.ts";
import { jsonCharactersMax } from "../../limits.ts";
import { checkReplaceable } from "../../trust/lockout.ts";
import { describeFinding, lintModel, type Finding, type Lint } from "../../trust/lint.ts";
import { canonicalModel, parseModel } from "@sigil/core/model";
import { exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { readText } from "../terminal/input-file.ts";
import { parseModelFile } from "../proposal/model-file.ts";
import { warningLine } from "../proposal/proposing.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatTable, printable, type Terminal } from "../terminal/terminal.ts";

const payloadIn = (text: string, what: string): CborValue => parseModelFile(text, what).payload as CborValue;

/** Lints the model as it would be proposed. @throws malformedModel if no proposal may contain it. */
const lintFile = (payload: CborValue): Lint => {
  const spelled = canonicalModel(payload);
  checkReplaceable(parseModel(spelled));
  return lintModel(spelled, Infinity);
};

const readLint = async (given: Arguments, terminal: Terminal): Promise<Lint> => {
  const [path] = given.words;
  if (given.has("active")) {
    if (path !== undefined) usage("FILE and --active exclude each other");
    const response = await withConnection(given, terminal, ({ trust }) => trust.getActiveModel({}));
    return lintModel(
      payloadIn(JSON.stringify(GetActiveModelResponse.toJSON(response)), "the answer"),
      Infinity,
    );
  }
  if (path === undefined) return usage("sigil model check needs FILE or --active");
  return lintFile(payloadIn(await readText(path, "FILE", terminal, jsonCharactersMax), "FILE"));
};

/** One line per finding. */
export const formatFindings = (findings: readonly Finding[], { paint }: Pick<Terminal, "paint">): string =>
  findings.map((finding) => warningLine(describeFinding(finding), { paint })).join("\n");

const upTo = ({ countAllowed, full }: Lint["actions"][number]): string => {
  const count = countAllowed();
  if (count === null) return "never";
  return full === "allow" ? "a full window" : `${count} earlier checks`;
};

const formatActions = (actions: Lint["actions"]): string =>
  formatTable(
    [
      { title: "ACTION" },
      { title: "LEAST LEVEL" },
      { title: "ON", widthMax: 30 },
      { title: "Z", align: "right" },
      { title: "IDLE" },
      { title: "FULL WINDOW" },
      { title: "ALLOWED UP TO" },
    ],
    actions.map((each) => [
      each.action,
      each.level,
      each.target ?? "an unlisted target",
      each.z.toFixed(2),
      each.idle,
      each.full,
      upTo(each),
    ]),
  );

const print = ({ findings, actions }: Lint, given: Arguments, terminal: Terminal): void => {
  if (given.has("json")) {
    const rows = actions.map(({ countAllowed, ...action }) => ({ ...action, allowed_up_to: countAllowed() }));
    terminal.print(JSON.stringify({ findings, actions: rows }, undefined, 2));
    return;
  }
  const head = findings.length === 0 ? "Nothing to say about its rows." : formatFindings(findings, terminal);
  terminal.print(
    `${head}\n\nEach action at its least level, on the least sensitive target of its own topic, without input:\n\n${formatActions(actions)}`,
  );
};

export const modelCheck: Command = {
  name: "model check",
  about:
    "Look a trust model over for what is most likely a mistake: a row that never allows at its own least level, a row that\n" +
    "never wins, rows that differ by letter case alone, a rate that limits nothing. Shows what a full rate window does to\n" +
    "each action. A FILE is read here and goes nowhere; --active asks for the model that decides now, which takes Observer.",
  words: ["[FILE]"],
  flags: { active: { about: "The model that decides now." }, ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil model check model.json",
    "sigil model check --active --key .sigil/keys/observer.pem --principal observer",
    "sigil model check model.json --json | jq -r '.findings[].row'",
  ],
  exits: [
    "0  nothing was found",
    "1  something was found, or the model would be refused",
    "2  usage error, or no answer",
  ],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      try {
        const lint = await readLint(given, terminal);
        print(lint, given, terminal);
        return lint.findings.length === 0 ? exitCodes.ok : exitCodes.no;
      } catch (error) {
        if (!(error instanceof SigilFault) || error.error.kind !== "malformedModel") throw error;
        terminal.note(printable(describeError(error.error)));
        return exitCodes.no;
      }
    }),
};
