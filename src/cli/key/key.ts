/** `sigil key`: a person's or a service's own key pair, an Ed25519 key in a file of 0600. */
import { formatPublicKey, createKeyFile, type KeyPair } from "../../crypto/signing/keyfile.ts";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { formatVerifierKey } from "@sigil/core/merkle";
import { toBase64Url } from "@sigil/core/bytes";
import { exitCodes, jsonFlag, type Command } from "../terminal/command.ts";
import { readOwnKey } from "../terminal/own-key.ts";
import type { Terminal } from "../terminal/terminal.ts";

const printKey = (
  { publicKey }: Pick<KeyPair, "publicKey">,
  path: string,
  asJson: boolean,
  terminal: Terminal,
): void => {
  const publicText = formatPublicKey(publicKey);
  const kid = toBase64Url(coseKeyThumbprint(publicKey));
  terminal.print(asJson ? JSON.stringify({ file: path, publicKey: publicText, kid }) : publicText);
};

export const keyNew: Command = {
  name: "key new",
  about:
    "Make an Ed25519 key pair: the private key in a new file that only you can read, the public key printed.",
  words: ["FILE"],
  flags: jsonFlag,
  examples: ["sigil key new alice.pem", 'sigil init --data data --root "$(sigil key new root.pem)" …'],
  run: async (given, terminal) => {
    const [path = ""] = given.words;
    printKey(await createKeyFile(path), path, given.has("json"), terminal);
    terminal.note(`wrote the private key to ${path}: keep it, nobody can make it again`);
    return exitCodes.ok;
  },
};

export const keyShow: Command = {
  name: "key show",
  about: "Print the public key of a key file.",
  words: ["FILE"],
  flags: {
    vkey: {
      value: "NAME",
      about: "Print it as the verifier key of a witness of this name, for a policy (C2SP).",
    },
    ...jsonFlag,
  },
  examples: [
    "sigil key show alice.pem",
    "sigil key show alice.pem --json",
    "sigil key show w1.pem --vkey witness.example/w1",
  ],
  run: async (given, terminal) => {
    const [path = ""] = given.words;
    const name = given.text("vkey");
    if (name !== undefined) {
      const { publicKey } = await readOwnKey(path, terminal);
      terminal.print(formatVerifierKey({ name, use: "cosigner", publicKey }));
      return exitCodes.ok;
    }
    printKey(await readOwnKey(path, terminal), path, given.has("json"), terminal);
    return exitCodes.ok;
  },
};
