/** `sigil propose`: proposes a change of a system record. */
import { activeModelId } from "@sigil/core/record";
import type { Node } from "jsonc-parser";
import { ProposeRecordResponse, type ProposeRecordRequest } from "@sigil/client";
import { jsonCharactersMax } from "../../limits.ts";
import { countOf, exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { readText } from "../terminal/input-file.ts";
import { parseJson, parseModelFile } from "./model-file.ts";
import { recordMeant, withPrincipal } from "../call/principal-record.ts";
import { formatProposed, proposingFlags, readProposing, warningLine } from "./proposing.ts";
import { orRefusal } from "../call/refusal.ts";
import type { Terminal } from "../terminal/terminal.ts";

type Change = { readonly id: string; readonly content: NonNullable<ProposeRecordRequest["content"]> };

const wholeForm = 'the file must be {"id": …, "payload": …}, or a payload with --id ID';

/** The members of an object as syntax nodes. */
const membersOf = ({ type, children = [] }: Node): ReadonlyMap<string, Node> => {
  if (type !== "object") return usage(wholeForm);
  const members = new Map<string, Node>();
  for (const { children: [name, value] = [] } of children) {
    if (name === undefined || value === undefined) continue;
    const key = String(name.value);
    if (key !== "id" && key !== "payload")
      usage(`"${key}" has no place beside "id" and "payload"; ${wholeForm}`);
    if (members.has(key)) usage(`"${key}" occurs twice`);
    members.set(key, value);
  }
  return members;
};

/** Adds a principal's id to the payload if the record id cannot hold it. */
const changeOf = (id: string, payloadJson: string): Change => {
  const meant = recordMeant(id);
  return { id: meant.id, content: { $case: "payloadJson", value: withPrincipal(payloadJson, meant) } };
};

/**
 * Sends the payload exactly as in the file, not as reserialized by a parser. Only a model in the form of an answer is
 * converted to its record's form.
 * @throws usage.
 */
export const readProposed = (text: string, id: string | undefined): Change => {
  const root = parseJson(text, "the file");
  const isAnswer = root.children?.some(({ children: [name] = [] }) => name?.value === "model") === true;
  if (id === activeModelId || (id === undefined && isAnswer)) {
    const value = parseModelFile(text, "the file").payloadJson;
    return { id: activeModelId, content: { $case: "payloadJson", value } };
  }
  if (id !== undefined) return changeOf(id, text);
  const members = membersOf(root);
  const [named, payload] = [members.get("id"), members.get("payload")];
  if (named?.type !== "string" || payload === undefined) return usage(wholeForm);
  return changeOf(String(named.value), text.slice(payload.offset, payload.offset + payload.length));
};

const readChange = async (given: Arguments, terminal: Terminal): Promise<Change> => {
  const [path] = given.words;
  const [id, removed] = [given.text("id"), given.text("remove")];
  if (removed !== undefined) {
    if (path !== undefined || id !== undefined) usage("--remove ID takes neither FILE nor --id");
    return { id: recordMeant(removed).id, content: { $case: "tombstone", value: true } };
  }
  if (path === undefined) return usage("sigil propose needs FILE or --remove ID; see: sigil propose --help");
  return readProposed(await readText(path, "FILE", terminal, jsonCharactersMax), id);
};

export const propose: Command = {
  name: "propose",
  about:
    "Propose a change of a system record: the trust model, a principal, a schema, a module. It is committed when enough\n" +
    'witnesses have attested it. FILE is {"id": …, "payload": …}, or the payload alone with --id; "-" is standard\n' +
    "input. Takes level Mentor. Witnesses and the quorum change by sigil witness and sigil quorum.",
  words: ["[FILE]"],
  flags: {
    id: { value: "ID", about: "The record: trust_model/active, principal/NAME, schema/KIND, module/NAME." },
    remove: { value: "ID", about: "Propose the end of this record instead of a FILE." },
    expect: { value: "N", about: "Only when the record is at version N; 0 means that there must be none." },
    ...proposingFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil canon get trust_model/active --system > model.json   # or: sigil model get --json; edit it, then",
    'sigil propose model.json --id trust_model/active --reason "stricter on payments" --key .sigil/keys/mentor.pem --principal mentor',
    'sigil propose agent.json --id "principal/agents+ci@example.com" --key .sigil/keys/mentor.pem --principal mentor',
    "sigil propose --remove principal/alice --lifetime 12h",
  ],
  exits: ["0  proposed", "1  refused", "2  usage error, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [proposing, expectedVersion] = [readProposing(given), countOf(given, "expect")];
      const change = await readChange(given, terminal);
      const response = await withConnection(given, terminal, ({ canon }) =>
        canon.proposeRecord({
          ...change,
          ...proposing,
          ...(expectedVersion === undefined ? {} : { expectedVersion }),
        }),
      );
      const { proposal, auditId, warnings } = response;
      if (proposal === undefined) return usage("the server answered without a proposal");
      terminal.print(
        given.has("json")
          ? JSON.stringify(ProposeRecordResponse.toJSON(response))
          : formatProposed(proposal, auditId, terminal),
      );
      if (!given.has("json")) for (const warning of warnings) terminal.note(warningLine(warning, terminal));
      return exitCodes.ok;
    }),
};
