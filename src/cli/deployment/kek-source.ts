/** Key-encryption key sources on the command line, and advice on keeping them. */
import { resolve } from "node:path";
import { parseKekSource, type KekSource } from "../../crypto/kek.ts";

/** Makes a file's path absolute, since the server may be started from another directory. @throws invalidConfig. */
export const readKekSource = (text: string): KekSource => {
  const source = parseKekSource(text);
  return source.kind === "file" ? { kind: "file", path: resolve(source.path) } : source;
};

export const kekAdvice = (source: KekSource): string => {
  switch (source.kind) {
    case "file":
      return `Keep ${source.path} apart from the data and its backups: who has both can read everything, and without it nobody can read anything.`;
    case "env":
      return `Keep the value of ${source.name}: without it nobody can read the data.`;
    case "passphrase":
      return "Keep the passphrase: without it nobody can read the data.";
    case "pkcs11":
      return `Keep the token with the object "${source.uri.object}", and a second one with the same key if it can be cloned: without it nobody can read the data.`;
  }
};
