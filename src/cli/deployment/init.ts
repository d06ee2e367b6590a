/** `sigil init`: a new deployment in an empty directory. */
import { toHex } from "@sigil/core/bytes";
import { parseCustodySource } from "../../crypto/custody.ts";
import { formatKekSource, type KekSource } from "../../crypto/kek.ts";
import { formatPublicKey } from "../../crypto/signing/keyfile.ts";
import {
  exitCodes,
  jsonFlag,
  required,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
} from "../terminal/command.ts";
import { kekAdvice, readKekSource } from "./kek-source.ts";
import {
  makeDeployment,
  parsePrincipalFlag,
  parseRoot,
  parseWitness,
  requireEmpty,
  sampleFounders,
  sampleNames,
  type Founders,
} from "./setup.ts";
import { formatPairs } from "../terminal/terminal.ts";

const witnessesMax = 64;

const readFounders = async (given: Arguments, directory: string, origin: string): Promise<Founders> => {
  if (given.has("dev")) {
    const clash = ["root", "witness", "quorum"].find((flag) => given.has(flag));
    if (clash !== undefined) usage(`--dev makes the keys itself; leave out --${clash}`);
    const founders = await sampleFounders(`${directory}.keys`);
    return { ...founders, principals: [...founders.principals, ...readPrincipals(given, origin)] };
  }
  const root = parseRoot(required(given, "root", "PUBKEY"));
  const witnesses = given.texts("witness").map(parseWitness);
  if (witnesses.length === 0) usage("--witness NAME=PUBKEY is needed, at least once");
  const k = wholeNumber(required(given, "quorum", "K"), "quorum", [1, witnessesMax]);
  return { root, witnesses, k, principals: readPrincipals(given, origin) };
};

const readPrincipals = (given: Arguments, origin: string) =>
  given.texts("principal").map((text) => parsePrincipalFlag(text, origin));

const readKek = (given: Arguments, directory: string): KekSource =>
  readKekSource(given.text("kek") ?? `file:${directory}.kek`);

export const init: Command = {
  name: "init",
  about:
    "Make a deployment in an empty directory: its signing keys (encrypted), the genesis record with the first Root\n" +
    "principal, the witnesses and their quorum, and the default trust model.",
  flags: {
    data: { value: "DIR", about: "The data directory to make." },
    origin: { value: "NAME", about: "The deployment's name, unique in the world; signed into every record." },
    root: { value: "PUBKEY", about: 'Public key of the first Root principal, whose id is "root".' },
    witness: { value: "NAME=PUBKEY", multiple: true, about: "A witness." },
    quorum: { value: "K", about: "How many witnesses a governed change takes: 1 to their number." },
    principal: { value: "ID=LEVEL:TENANT:PUBKEY", multiple: true, about: "A further principal." },
    kek: {
      value: "SOURCE",
      about:
        "Key-encryption key: file:PATH or pkcs11:URI (made when missing), env:NAME or passphrase; default file:DIR.kek.",
    },
    custody: {
      value: "SOURCE",
      about:
        "Where the signing keys are made and stay: file, encrypted in DIR, or a token, pkcs11:URI; default file.",
    },
    dev: { about: `Make every key too, in DIR.keys: ${sampleNames.join(", ")} and three witnesses.` },
    ...jsonFlag,
  },
  examples: [
    "sigil init --data data --dev --origin sigil.test",
    'sigil init --data data --dev --principal "jörg+ci@example.com=observer:acme:$(sigil key show joerg.pem)"',
    "sigil key new root.pem; sigil key new w1.pem; sigil key new w2.pem",
    'sigil init --data data --origin sigil.example --root "$(sigil key show root.pem)" \\\n' +
      '    --witness w1="$(sigil key show w1.pem)" --witness w2="$(sigil key show w2.pem)" --quorum 2 \\\n' +
      "    --kek file:/secure/place/sigil.kek",
  ],
  run: async (given, terminal) => {
    const directory = required(given, "data", "DIR").replace(/(?<=.)\/+$/, "");
    const origin = given.has("dev")
      ? (given.text("origin") ?? "sigil.dev")
      : required(given, "origin", "NAME");
    const kekSource = readKek(given, directory);
    const custody = parseCustodySource(given.text("custody") ?? "file");
    // Checked before --dev creates keys.
    await requireEmpty(directory);
    const founders = await readFounders(given, directory, origin);
    const made = await makeDeployment({ ...founders, directory, origin, kekSource, custody }, terminal);
    const facts = {
      data: directory,
      origin,
      genesis: toHex(made.genesis),
      recordKey: formatPublicKey(made.recordKey),
      checkpointKey: formatPublicKey(made.checkpointKey),
      kek: formatKekSource(kekSource),
      custody: made.custody,
    };
    if (given.has("json")) terminal.print(JSON.stringify(facts));
    else {
      const quorum = `${founders.k} of ${founders.witnesses.length} witnesses`;
      terminal.print(
        formatPairs([
          ["data", facts.data],
          ["origin", facts.origin],
          ["genesis", facts.genesis],
          ["record key", facts.recordKey],
          ["checkpoint key", facts.checkpointKey],
          ["key-encryption key", `${facts.kek}${made.madeKek ? " (new)" : ""}`],
          ["signing keys", custody.kind === "file" ? undefined : facts.custody],
          ["quorum", quorum],
          ["sample keys", given.has("dev") ? `${directory}.keys` : undefined],
        ]),
      );
    }
    terminal.note(kekAdvice(kekSource));
    if (custody.kind === "pkcs11") {
      terminal.note(
        "Keep the token with the signing keys: no backup has them, and without them nothing new can be signed.",
      );
    }
    terminal.note(`Serve it: sigil serve --data ${directory}`);
    return exitCodes.ok;
  },
};
