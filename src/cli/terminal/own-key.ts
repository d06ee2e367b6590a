/** Reads the user's own key file. Group read access is reported, not refused: src/crypto/files/file-access.ts. */
import { describeShared, type OnShared } from "../../crypto/files/file-access.ts";
import { readKeyFile, type KeyPair } from "../../crypto/signing/keyfile.ts";
import { printable, type Terminal } from "./terminal.ts";

export const noteShared =
  ({ note }: Pick<Terminal, "note">): OnShared =>
  (shared) =>
    note(printable(describeShared(shared)));

/** @throws notFound, looseMode, malformedKey. */
export const readOwnKey = (path: string, terminal: Pick<Terminal, "note">): Promise<KeyPair> =>
  readKeyFile(path, noteShared(terminal));
