/**
 * Symbolic links among private files. A link's target is checked as if it were at the link's place; so are the owners
 * of the link, of the target, and of every directory on the path, whose owner could replace the target. At most
 * `linksMax` links are followed.
 */
import { lstat, readlink, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fail } from "../../errors.ts";
import { isOwn, isSwappable, ownHolder, type Holder, type Stats } from "./file-access.ts";

/** As in Linux. */
const linksMax = 40;

/** A path quoted for a shell. */
export const shellWord = (text: string): string =>
  /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;

export const showMode = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, "0");

/** @throws foreignOwner. */
const requireOwn = (path: string, stats: Pick<Stats, "uid">, holder: Holder): void => {
  if (holder.uid < 0 || isOwn(stats, holder)) return;
  fail({
    kind: "foreignOwner",
    path,
    uid: stats.uid,
    fix: `chown -h ${holder.uid} ${shellWord(path)}`,
  });
};

/** @throws foreignOwner, looseMode for a directory in which another user could replace the target. */
const checkWay = async (directory: string, holder: Holder): Promise<void> => {
  for (let path = directory; ; path = dirname(path)) {
    const stats = await stat(path);
    requireOwn(path, stats, holder);
    if (isSwappable(stats, holder)) {
      fail({ kind: "looseMode", path, mode: showMode(stats.mode), fix: `chmod go-w ${shellWord(path)}` });
    }
    if (path === dirname(path)) return;
  }
};

/**
 * Resolves a link that no other user could redirect; returns the path itself if it is no link.
 * @throws notFound for a dangling link, foreignOwner, looseMode.
 */
export const followLink = async (path: string, holder = ownHolder()): Promise<string> => {
  let [place, links] = [path, 0];
  const nowhere = (cause?: unknown): never =>
    fail({ kind: "notFound", what: "target of the link", id: path }, { cause });
  for (;;) {
    const stats = await lstat(place).catch(nowhere);
    if (links > 0) requireOwn(place, stats, holder);
    if (!stats.isSymbolicLink()) return place;
    links += 1;
    if (links > linksMax) return nowhere();
    requireOwn(place, stats, holder);
    const target = resolve(await realpath(dirname(place)), await readlink(place));
    const parent = await realpath(dirname(target)).catch(nowhere);
    await checkWay(parent, holder);
    place = join(parent, target.slice(dirname(target).length));
  }
};
