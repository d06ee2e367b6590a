/**
 * `sigil attest`: a witness reviews a change, decides and signs, on its own machine. The review is decoded from the
 * bytes to be signed; the private key never leaves the machine.
 */
import { witnessPrefix } from "@sigil/core/record";
import { access, readFile, writeFile } from "node:fs/promises";
import {
  createTokenSigner,
  GetProposalResponse,
  type SigilConnection,
  type TokenSigner,
  type Witness,
} from "@sigil/client";
import { equalBytes } from "@sigil/core/bytes";
import { cborBytesMax } from "@sigil/core/limits";
import type { KeyPair } from "../../crypto/signing/keyfile.ts";
import { confirm, requireAnswer } from "../terminal/ask.ts";
import {
  jsonFlag,
  required,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import {
  findOrigin,
  openConnection,
  readCaller,
  readServer,
  serverFlags,
  signerOf,
  type Server,
} from "../call/connection.ts";
import { reviewProposal, type Review } from "./review.ts";
import { printSigned, refuseToSign, sendStatement, signReviewed } from "./statement.ts";
import { readBytes } from "../terminal/input-file.ts";
import { readOwnKey } from "../terminal/own-key.ts";
import { findBy } from "../proposal/proposal.ts";
import { proposalId } from "../proposal/view.ts";
import { orRefusal } from "../call/refusal.ts";
import type { Terminal } from "../terminal/terminal.ts";

const callerFlagNames = { key: "caller-key", principal: "caller" } as const;

/** Finds the witness that holds the key. @throws usage if another one was named. */
const findWitness = (
  witnesses: readonly Witness[],
  { publicKey }: KeyPair,
  named: string | undefined,
): string | undefined => {
  const holders = witnesses.filter((each) => equalBytes(each.publicKey, publicKey)).map(({ id }) => id);
  if (named === undefined) return holders[0];
  if (holders.includes(named)) return named;
  return usage(
    holders.length === 0
      ? `the key is not that of witness ${named}`
      : `the key is that of witness ${holders.join(", ")} and not of ${named}`,
  );
};

/** The caller that fetches the proposal: the witness itself, or another principal if the key is not enrolled yet. */
const signerFor = async (
  given: Arguments,
  terminal: Terminal,
  { way, origin, key, witness }: Asking,
): Promise<TokenSigner | undefined> => {
  if (witness !== undefined) {
    return createTokenSigner({ principal: witnessPrefix + witness, origin, privateKey: key.privateKey });
  }
  const caller = readCaller(given, terminal, callerFlagNames);
  if (caller !== undefined) return signerOf(way, caller, terminal);
  if (way.read("tls-cert") !== undefined) return undefined;
  return usage(
    "the key does not belong to an enrolled witness; if the proposal enrols it, name a caller to fetch it: --caller ID --caller-key FILE",
  );
};

type Asking = {
  readonly way: Server;
  readonly origin: string;
  readonly key: KeyPair;
  readonly witness: string | undefined;
};

/** Shows, asks and signs. @returns the statement, or an exit code if nothing was signed. */
const decide = async (
  review: Review,
  given: Arguments,
  terminal: Terminal,
): Promise<Uint8Array | ExitCode> => {
  // The review is the result and goes to standard output, except with --json, where the server's answer does.
  const show = given.has("json") ? terminal.note : terminal.print;
  const reviewed = await reviewProposal(review, { ...terminal, print: show });
  if (reviewed.kind === "refused") return refuseToSign(reviewed.rule, terminal);
  const verb = review.verdict === "approve" ? "approve" : "REJECT";
  const who = reviewed.role === "possession" ? "the new key" : `witness ${review.witness ?? "of this key"}`;
  const question = `As ${who}, on ${review.origin}: ${verb} this change?`;
  if (!given.has("yes") && !(await confirm(question, terminal))) {
    return refuseToSign("you did not say yes", terminal);
  }
  return signReviewed(reviewed, review);
};

const deliver = async (
  statement: Uint8Array | ExitCode,
  given: Arguments,
  terminal: Terminal,
  connection: SigilConnection | undefined,
): Promise<ExitCode> => {
  if (!(statement instanceof Uint8Array)) return statement;
  const id = proposalId(given.words[0]);
  const out = given.text("out");
  if (out === undefined) {
    return connection === undefined
      ? usage("--proposal FILE needs --out FILE: nothing is sent")
      : sendStatement(connection, id, statement, given.has("json"), terminal);
  }
  await writeFile(out, statement, { flag: "wx" }).catch(() => usage(`--out: ${out} cannot be written`));
  return printSigned(out, id, statement, given.has("json"), terminal);
};

/** Checked before the review, so that no decision is lost. @throws usage if the file exists. */
const requireFree = async (out: string | undefined): Promise<void> => {
  if (out === undefined) return;
  const isTaken = await access(out).then(
    () => true,
    () => false,
  );
  if (isTaken) usage(`--out: ${out} is there already; it is never overwritten`);
};

const readVerdict = (given: Arguments) => (given.has("reject") ? "reject" : "approve");

/** Offline: reads the proposal from a file and writes the statement to one. */
const attestOffline = async (path: string, given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  if (!given.has("out")) usage("--proposal FILE needs --out FILE: nothing is sent");
  const origin = required(given, "origin", "NAME");
  const key = await readOwnKey(required(given, "key", "FILE"), terminal);
  const text = await readFile(path, "utf8").catch(() => usage(`--proposal: ${path} cannot be read`));
  let response: GetProposalResponse;
  try {
    response = GetProposalResponse.fromJSON(JSON.parse(text));
  } catch {
    return usage(`--proposal: ${path} must be what sigil proposal ID --json printed`);
  }
  const review: Review = {
    id: proposalId(given.words[0]),
    response,
    origin,
    key,
    witness: given.text("witness"),
    isEnrolled: "unknown",
    verdict: readVerdict(given),
    knownNames: [],
    find: async () => undefined,
    simulate: undefined,
  };
  return deliver(await decide(review, given, terminal), given, terminal, undefined);
};

const attestOnline = async (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const key = await readOwnKey(required(given, "key", "FILE"), terminal);
  const way = await readServer(given, terminal);
  const origin = await findOrigin(way);
  using anonymous = openConnection(way, undefined);
  const { witnesses } = await anonymous.witness.listWitnesses({});
  const witness = findWitness(witnesses, key, given.text("witness"));
  const signer = await signerFor(given, terminal, { way, origin, key, witness });
  using connection = openConnection(way, signer);
  const id = proposalId(given.words[0]);
  const review: Review = {
    id,
    response: await connection.canon.getProposal({ id }),
    origin,
    key,
    witness,
    isEnrolled: witness === undefined ? "no" : "yes",
    verdict: readVerdict(given),
    knownNames: witnesses.flatMap(({ id: name, owner }) => [name, owner]),
    find: findBy(connection),
    simulate: (lastDecisions) =>
      connection.trust.simulate({
        proposalId: id,
        subjectMatter: { $case: "lastDecisions", value: lastDecisions },
      }),
  };
  return await deliver(await decide(review, given, terminal), given, terminal, connection);
};

const signingFlags = ["key", "witness", "reject", "yes", "out", "proposal"];

/** The statement is authenticated by its signature, so the sender needs no credentials. */
const deliverMade = async (path: string, given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const clash = signingFlags.find((flag) => given.has(flag));
  if (clash !== undefined) usage(`--statement and --${clash} exclude each other`);
  const statement = await readBytes(path, "--statement", terminal, cborBytesMax);
  const way = await readServer(given, terminal);
  const caller = readCaller(given, terminal, callerFlagNames);
  using connection = openConnection(
    way,
    caller === undefined ? undefined : await signerOf(way, caller, terminal),
  );
  return await sendStatement(connection, proposalId(given.words[0]), statement, given.has("json"), terminal);
};

export const attest: Command = {
  name: "attest",
  about:
    "Approve or reject a proposal with a witness's key. Shows the change, read from the very bytes that are signed, against\n" +
    "the version it replaces, and for a trust model which recorded decisions would flip; then asks. The key never leaves\n" +
    "this machine. With the key that the proposal enrols, the signature shows that somebody holds it.",
  words: ["ID"],
  flags: {
    key: { value: "FILE", about: "The witness's private key." },
    witness: { value: "NAME", about: "Whose key it is; default: found by the key." },
    reject: { about: "Reject instead of approving." },
    yes: { about: "Do not ask for confirmation." },
    out: { value: "FILE", about: "Write the signed statement there instead of sending it." },
    proposal: {
      value: "FILE",
      about: "The proposal as sigil proposal ID --json printed it: no network is used.",
    },
    statement: { value: "FILE|-", about: "Send a statement that was made elsewhere." },
    caller: { value: "ID", about: "Who asks for the proposal when the key is not enrolled yet." },
    "caller-key": { value: "FILE", about: "That caller's private key." },
    ...jsonFlag,
    ...serverFlags,
  },
  examples: [
    "sigil attest 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --key .sigil/keys/witness-1.pem",
    "sigil attest 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --key alice.pem --proposal proposal.json --origin sigil.example --out alice.cose",
    "sigil attest 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --statement alice.cose",
  ],
  exits: [
    "0  the statement was taken, or written",
    "1  refused by the server, by what the bytes turned out to be, or by you",
    "2  usage error, or no answer",
  ],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const made = given.text("statement");
      if (made !== undefined) return deliverMade(made, given, terminal);
      requireAnswer(given.has("yes"), terminal);
      await requireFree(given.text("out"));
      const file = given.text("proposal");
      return file === undefined ? attestOnline(given, terminal) : attestOffline(file, given, terminal);
    }),
};
