/** `sigil keys rewrap`: moves an offline data directory to another key-encryption key. */
import { rewrapDeployment } from "../../deployment/rewrap.ts";
import { formatKekSource } from "../../crypto/kek.ts";
import { exitCodes, jsonFlag, required, type Command } from "../terminal/command.ts";
import { kekAdvice, readKekSource } from "./kek-source.ts";
import { askNextPassphrase, kekInputsOf } from "../terminal/passphrase.ts";
import { formatPairs } from "../terminal/terminal.ts";

export const keysRewrap: Command = {
  name: "keys rewrap",
  about:
    "Move a data directory that is not being served to another key-encryption key. No key changes, only what encrypts\n" +
    "it, so no record is written anew. Interrupted at any moment, the old key or the new one opens everything; then run\n" +
    "it again. A new passphrase is asked for twice, or taken from SIGIL_NEW_PASSPHRASE.",
  flags: {
    data: { value: "DIR", about: "The data directory." },
    to: {
      value: "SOURCE",
      about:
        "The new key-encryption key: file:PATH or pkcs11:URI (made when missing), env:NAME or passphrase.",
    },
    ...jsonFlag,
  },
  examples: [
    "sigil keys rewrap --data data --to file:/secure/place/sigil-2027.kek",
    "sigil keys rewrap --data data --to passphrase",
    "sigil keys rewrap --data data --to 'pkcs11:token=sigil;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so'",
  ],
  run: async (given, terminal) => {
    const directory = required(given, "data", "DIR");
    const to = readKekSource(required(given, "to", "SOURCE"));
    await using kekInputs = kekInputsOf(terminal);
    await using newKekInputs = kekInputsOf(terminal, { ask: askNextPassphrase });
    const moved = await rewrapDeployment({
      directory,
      to,
      kekInputs,
      newKekInputs,
      onProgress: (done, total) => terminal.progress(`keys: ${done} of ${total}`),
    });
    terminal.progress("");
    const kek = formatKekSource(to);
    if (given.has("json")) terminal.print(JSON.stringify({ data: directory, kek, ...moved }));
    else {
      terminal.print(
        formatPairs([
          ["data", directory],
          ["key-encryption key", `${kek}${moved.madeKek ? " (new)" : ""}`],
          ["before", moved.oldSource],
          ["keys moved", String(moved.keys)],
        ]),
      );
    }
    if (moved.leftBehind !== null) {
      terminal.note(`${moved.leftBehind} could not be removed and still opens with the old key: remove it`);
    }
    terminal.note("Backups made before this still open with the old key: keep it as long as you keep them.");
    terminal.note(kekAdvice(to));
    return exitCodes.ok;
  },
};
