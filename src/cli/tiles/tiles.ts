/** `sigil tiles export`: the ledger as a tiled log of static files. */
import { setTimeout as pause } from "node:timers/promises";
import { SigilError, type SigilConnection, isAway, whileAway } from "@sigil/client";
import { exportAwayMsMax, tilesFollowMs, tilesRetryMsMax } from "../../limits.ts";
import { connectionFlags, describeCallError, withConnection } from "../call/connection.ts";
import { exitCodes, required, type Command, type ExitCode } from "../terminal/command.ts";
import { interruption } from "../terminal/interruption.ts";
import { Pace } from "../terminal/pace.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { TilesDirectory } from "./directory.ts";
import { LogRefused, TilesExport } from "./export.ts";

type Task = {
  readonly out: string;
  readonly audit: SigilConnection["audit"];
  readonly isFollowing: boolean;
  readonly signal: AbortSignal;
};

/** Ends at the first whole export, or with `isFollowing` when the signal aborts. */
const exportAll = async ({ out, audit, isFollowing, signal }: Task, terminal: Terminal): Promise<void> => {
  await using directory = await TilesDirectory.open(out);
  const pace = new Pace();
  const onAway = (error: SigilError): void =>
    terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: trying again`);
  let isAnswered = false;
  const exported = await TilesExport.open({
    directory,
    // An error of the first request is reported; later the server is waited for.
    read: async (path) => {
      const awayMsMax = isAnswered ? exportAwayMsMax : 0;
      const asked = () => audit.getTile({ path }, { signal });
      const { content } = await whileAway(asked, { awayMsMax, onAway, signal });
      isAnswered = true;
      return content;
    },
    onProgress: (done, total) => terminal.progress(pace.describe({ step: "entries", done, total })),
    signal,
  });
  let [pauseMs, heard] = [tilesFollowMs, false];
  while (!signal.aborted) {
    try {
      const isNew = await exported.step();
      if (isNew || !heard) {
        terminal.progress("");
        terminal.note(`${out}: ${exported.size} entries.`);
      }
      [pauseMs, heard] = [tilesFollowMs, true];
      if (!isFollowing) return;
    } catch (thrown) {
      if (signal.aborted) return;
      if (!(thrown instanceof SigilError) || !heard || !isAway(thrown)) throw thrown;
      onAway(thrown);
      pauseMs = Math.min(2 * pauseMs, tilesRetryMsMax);
    }
    await pause(pauseMs, undefined, { signal }).catch(() => {});
  }
};

export const tilesExport: Command = {
  name: "tiles export",
  about:
    "Write the ledger as a tiled transparency log (C2SP tlog-tiles) into a directory that any static server can serve:\n" +
    "entries, tiles, then the checkpoint, whose root must be that of the entries. Goes on after what is there; killed at any\n" +
    "moment, what is there is the whole log of its checkpoint. Takes an authenticated caller unless tiles are public.",
  flags: {
    out: { value: "DIR", about: "The directory; made if it is not there." },
    follow: { about: "Go on with each published checkpoint, until Ctrl-C." },
    ...connectionFlags,
  },
  examples: [
    "sigil tiles export --out /srv/log --key observer.pem --principal observer",
    "sigil tiles export --out /srv/log --follow",
  ],
  exits: [
    "0  exported; with --follow, interrupted",
    "1  the log is not one with what is exported, or with its own checkpoint",
    "2  no answer, or the directory cannot be written",
  ],
  run: async (given, terminal): Promise<ExitCode> => {
    const out = required(given, "out", "DIR");
    using interrupted = interruption();
    const { signal } = interrupted;
    try {
      await withConnection(given, terminal, ({ audit }) =>
        exportAll({ out, audit, isFollowing: given.has("follow"), signal }, terminal),
      );
    } catch (error) {
      if (!(error instanceof LogRefused)) throw error;
      terminal.progress("");
      terminal.note(`sigil: not exported: ${error.message}`);
      return exitCodes.no;
    }
    return signal.aborted && !given.has("follow") ? exitCodes.unknown : exitCodes.ok;
  },
};
