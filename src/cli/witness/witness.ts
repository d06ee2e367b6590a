/** `sigil witness` and `sigil quorum`: the witnesses and the quorum for changes of the system space. */
import {
  GetQuorumResponse,
  ListWitnessesResponse,
  ProposeWitnessChangeResponse,
  type ProposeWitnessChangeRequest,
  type Quorum,
} from "@sigil/client";
import { parsePublicKey } from "@sigil/core/bytes";
import { attestationsMax } from "@sigil/core/limits";
import { formatPublicKey, parsePublicKeyText } from "../../crypto/signing/keyfile.ts";
import {
  exitCodes,
  jsonFlag,
  required,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { formatProposed, proposingFlags, readProposing } from "../proposal/proposing.ts";
import { formatRecordFacts } from "../call/record-view.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatTable, type Terminal } from "../terminal/terminal.ts";

type RegistryChange = NonNullable<ProposeWitnessChangeRequest["change"]>;

const proposeChange = (given: Arguments, terminal: Terminal, change: RegistryChange): Promise<ExitCode> =>
  orRefusal(terminal, async () => {
    const proposing = readProposing(given);
    const response = await withConnection(given, terminal, ({ witness }) =>
      witness.proposeWitnessChange({ change, ...proposing }),
    );
    const { proposal, auditId } = response;
    if (proposal === undefined) return usage("the server answered without a proposal");
    terminal.print(
      given.has("json")
        ? JSON.stringify(ProposeWitnessChangeResponse.toJSON(response))
        : formatProposed(proposal, auditId, terminal),
    );
    return exitCodes.ok;
  });

const changeFlags = { ...proposingFlags, ...jsonFlag, ...connectionFlags } as const;
const changeExits = ["0  proposed", "1  refused", "2  usage error, or no answer"];
const quorumFlag = {
  quorum: { value: "K", about: "The new k, in the same change; default unchanged." },
} as const;
const keyFlag = {
  "public-key": { value: "KEY", about: "Its public key, as sigil key show prints it. It must sign too." },
} as const;

/** 0 keeps k. */
const readK = (given: Arguments, flag: string): number => {
  const text = given.text(flag);
  return text === undefined ? 0 : wholeNumber(text, flag, [1, attestationsMax]);
};

const readKey = (given: Arguments): Uint8Array => {
  try {
    return parsePublicKeyText(required(given, "public-key", "KEY"));
  } catch {
    return usage("--public-key must be a public key; sigil key new prints one");
  }
};

const quorumText = ({ k, n, epoch, proposerMayAttest }: Quorum): string => {
  const proposer = proposerMayAttest ? "may" : "may not";
  return `A change takes ${k} of ${n}, epoch ${epoch}. A proposer ${proposer} attest its own proposal.`;
};

export const witnessList: Command = {
  name: "witness list",
  about: "List the witnesses and the quorum they make. Anybody may.",
  flags: { ...jsonFlag, ...connectionFlags },
  examples: ["sigil witness list", "sigil witness list --json"],
  exits: ["0  shown", "2  usage error, or no answer"],
  run: async (given, terminal) => {
    const response = await withConnection(given, terminal, ({ witness }) => witness.listWitnesses({}));
    if (given.has("json")) {
      terminal.print(JSON.stringify(ListWitnessesResponse.toJSON(response)));
      return exitCodes.ok;
    }
    const columns = [
      { title: "WITNESS" },
      { title: "KEY" },
      { title: "OWNER", widthMax: 30 },
      { title: "AUTHORITY", widthMax: 30 },
      { title: "SINCE", align: "right" } as const,
      { title: "DESCRIPTION", widthMax: 40 },
    ];
    const rows = response.witnesses.map((each) => [
      each.id,
      formatPublicKey(parsePublicKey(each.publicKey)),
      each.owner,
      each.authority,
      String(each.enrolledPosition),
      each.description,
    ]);
    const { quorum } = response;
    terminal.print(
      [formatTable(columns, rows), ...(quorum === undefined ? [] : ["", quorumText(quorum)])].join("\n"),
    );
    return exitCodes.ok;
  },
};

export const witnessAdd: Command = {
  name: "witness add",
  about:
    "Propose to enrol a witness. k of the present witnesses must attest it, and its own key must sign too. Takes level\n" +
    "Mentor.",
  words: ["ID"],
  flags: {
    ...keyFlag,
    owner: { value: "NAME", about: "Who holds the key; one owner has one witness." },
    authority: { value: "TEXT", about: "In whose name it attests." },
    description: { value: "TEXT", about: "For people." },
    ...quorumFlag,
    ...changeFlags,
  },
  examples: [
    'sigil witness add carol --public-key "$(sigil key show carol.pem)" --owner "Carol Jones" --key .sigil/keys/mentor.pem --principal mentor',
  ],
  exits: changeExits,
  run: async (given, terminal) => {
    const value = {
      id: given.words[0] ?? "",
      publicKey: readKey(given),
      owner: required(given, "owner", "NAME"),
      authority: given.text("authority") ?? "",
      description: given.text("description") ?? "",
      k: readK(given, "quorum"),
    };
    return proposeChange(given, terminal, { $case: "add", value });
  },
};

export const witnessRemove: Command = {
  name: "witness remove",
  about:
    "Propose to take a witness out. Afterwards open proposals must be attested anew. Takes level Mentor.",
  words: ["ID"],
  flags: { ...quorumFlag, ...changeFlags },
  examples: ["sigil witness remove carol --quorum 2 --key .sigil/keys/mentor.pem --principal mentor"],
  exits: changeExits,
  run: async (given, terminal) => {
    const value = { id: given.words[0] ?? "", k: readK(given, "quorum") };
    return proposeChange(given, terminal, { $case: "remove", value });
  },
};

export const witnessReplace: Command = {
  name: "witness replace",
  about:
    "Propose a new key for a witness. The new key must sign too; until the commit the old one is the witness's. Takes\n" +
    "level Mentor.",
  words: ["ID"],
  flags: { ...keyFlag, ...changeFlags },
  examples: [
    'sigil witness replace carol --public-key "$(sigil key show carol-2.pem)" --reason "new laptop"',
  ],
  exits: changeExits,
  run: async (given, terminal) => {
    const value = { id: given.words[0] ?? "", publicKey: readKey(given) };
    return proposeChange(given, terminal, { $case: "replace", value });
  },
};

const readYesNo = (given: Arguments, flag: string): boolean | undefined => {
  const text = given.text(flag);
  if (text === undefined) return undefined;
  if (text !== "yes" && text !== "no") usage(`--${flag} must be yes or no`);
  return text === "yes";
};

const showQuorum = async (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const response = await withConnection(given, terminal, ({ witness }) => witness.getQuorum({}));
  if (given.has("json")) {
    terminal.print(JSON.stringify(GetQuorumResponse.toJSON(response)));
    return exitCodes.ok;
  }
  const { quorum, record } = response;
  if (quorum === undefined) return usage("the server answered without a quorum");
  terminal.print(quorumText(quorum) + (record === undefined ? "" : `\n\n${formatRecordFacts(record)}`));
  return exitCodes.ok;
};

export const quorum: Command = {
  name: "quorum",
  about:
    "Show how many of how many witnesses a change takes, and the record that set it: anybody may. With --set or\n" +
    "--proposer-may-attest, propose another; that takes level Mentor.",
  flags: {
    set: { value: "K", about: "Propose a new number of required approvals." },
    "proposer-may-attest": {
      value: "yes|no",
      about: "Propose whether a witness may attest what it proposed itself.",
    },
    ...changeFlags,
  },
  examples: [
    "sigil quorum",
    'sigil quorum --set 3 --reason "one more pair of eyes" --key .sigil/keys/mentor.pem --principal mentor',
  ],
  exits: ["0  shown, or proposed", "1  refused", "2  usage error, or no answer"],
  run: async (given, terminal) => {
    const [k, proposerMayAttest] = [readK(given, "set"), readYesNo(given, "proposer-may-attest")];
    if (k === 0 && proposerMayAttest === undefined) {
      const stray = Object.keys(proposingFlags).find((flag) => given.has(flag));
      if (stray !== undefined) usage(`--${stray} goes with --set or --proposer-may-attest`);
      return showQuorum(given, terminal);
    }
    const value = { k, proposerMayAttest };
    return proposeChange(given, terminal, { $case: "quorum", value });
  },
};
